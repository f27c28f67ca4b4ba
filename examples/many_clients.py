"""A client that opens many connections in one nursery, sends a message on each, and closes them all.

Start echo_server.py, then type::

    python examples/many_clients.py ws://127.0.0.1:8765/ --count 500

It prints how many answers came, and the slowest of them.
"""

from __future__ import annotations

import argparse

import trio

from trio_ws import WebSocketConnection, connect_websocket

DIALING = 50  # handshakes under way at the same time


async def main(url: str, count: int) -> None:
    connections: list[WebSocketConnection] = []
    limit = trio.CapacityLimiter(DIALING)

    # The connections live in this nursery until they are closed. Nothing that happens to one is raised in it.
    async with trio.open_nursery() as home:

        async def dial() -> None:
            async with limit:
                connections.append(await connect_websocket(home, url))

        async with trio.open_nursery() as dialing:
            for _ in range(count):
                dialing.start_soon(dial)

        seconds: list[float] = []

        async def ask(ws: WebSocketConnection) -> None:
            async with ws:  # closes it at the end
                began = trio.current_time()
                await ws.send("hello")
                await ws.receive()
                seconds.append(trio.current_time() - began)

        async with trio.open_nursery() as asking:
            for ws in connections:
                asking.start_soon(ask, ws)

    print(f"{len(seconds)} answers, the slowest after {max(seconds) * 1000:.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Many connections to one server.")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8765/")
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    trio.run(main, options.url, options.count)
