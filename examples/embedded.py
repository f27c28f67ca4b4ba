"""A server inside a larger program, which has other tasks and looks after its signals itself.

Type::

    python examples/embedded.py --port 8765 --interval 1

One task measures something, and every client gets the newest value. A client that is slow misses values; it never
gets old ones, and holds nobody up. SIGTERM or Ctrl-C ends the program: first the clients are told, then measuring
stops.
"""

from __future__ import annotations

import argparse
import os
import signal
from functools import partial

import trio

from trio_ws import WebSocketConnection, open_websocket_server


class Reading:
    """The newest value, and a way to wait for the next."""

    def __init__(self) -> None:
        self.value = 0.0
        self._changed = trio.Event()

    def update(self, value: float) -> None:
        self.value = value
        self._changed.set()
        self._changed = trio.Event()

    async def wait_changed(self) -> None:
        await self._changed.wait()


async def measure(reading: Reading, interval: float) -> None:
    while True:
        reading.update(os.getloadavg()[0])
        await trio.sleep(interval)


async def watch(reading: Reading, ws: WebSocketConnection) -> None:
    while True:
        await ws.send(f"{reading.value:.2f}")  # raises ConnectionClosed when that is over, and the server knows why
        await reading.wait_changed()


async def main(host: str, port: int, interval: float) -> None:
    reading = Reading()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(measure, reading, interval)
            async with open_websocket_server(partial(watch, reading), host, port) as server:
                print(f"listening on ws://{host}:{server.port}/", flush=True)
                await anext(signals)
            # The block has told every client 1001 and waited for the handlers. The rest of the program still runs.
            print("no clients any longer")
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server inside a larger program.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0 for any that is free")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two values")
    options = parser.parse_args()
    trio.run(main, options.host, options.port, options.interval)
