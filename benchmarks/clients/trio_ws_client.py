"""This library."""

import trio

from trio_ws import open_websocket

from .turns import MESSAGE, address, take_turns


async def main() -> None:
    async with open_websocket(address(), compression=None, ping_interval=None) as ws:

        async def turn() -> object:
            await ws.send(MESSAGE)
            return await ws.receive()

        await take_turns(turn)


if __name__ == "__main__":
    trio.run(main)
