"""A client that says hello to echo_server.py."""

import trio

from trio_ws import open_websocket


async def main(url: str = "ws://127.0.0.1:8765/") -> None:
    async with open_websocket(url) as ws:
        await ws.send("hello")
        print(await ws.receive())


if __name__ == "__main__":
    trio.run(main)
