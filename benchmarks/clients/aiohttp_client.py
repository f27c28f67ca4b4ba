"""aiohttp."""

import asyncio

from aiohttp import ClientSession

from .turns import MESSAGE, address, take_turns


async def main() -> None:
    async with ClientSession() as session, session.ws_connect(address()) as ws:

        async def turn() -> object:
            await ws.send_bytes(MESSAGE)
            return await ws.receive_bytes()

        await take_turns(turn)


if __name__ == "__main__":
    asyncio.run(main())
