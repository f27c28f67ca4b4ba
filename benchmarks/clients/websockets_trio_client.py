"""websockets.trio."""

import trio
from websockets.trio.client import connect

from .turns import MESSAGE, address, take_turns


async def main() -> None:
    async with connect(address(), compression=None, ping_interval=None, proxy=None) as ws:

        async def turn() -> object:
            await ws.send(MESSAGE)
            return await ws.recv()

        await take_turns(turn)


if __name__ == "__main__":
    trio.run(main)
