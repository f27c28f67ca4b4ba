"""A program for test_sigterm.py: counts what it sends and receives, and prints the counts when it has shut down.

Clients at ``/N`` send the numbers 0, 1, 2, ... and get the same. Those at ``/flood`` are sent as much as they take.
Those at ``/sleep`` have a handler that never ends by itself.
"""

from __future__ import annotations

import json
import resource
import sys
from contextlib import suppress

import trio

from trio_ws import ConnectionClosed, WebSocketConnection, WebSocketServer, serve_websocket

received: dict[str, int] = {}
sent: dict[str, int] = {}
ended: dict[str, str] = {}


async def handler(ws: WebSocketConnection) -> None:
    name = ws.request.path
    try:
        if name == "/flood":
            while True:
                await ws.send(bytes(2**16))
        if name == "/sleep":
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_numbers, ws, name)
            received[name] = 0
            async for message in ws:
                assert message == str(received[name]), f"{name}: {message!r} after {received[name]} messages"
                received[name] += 1
        ended[name] = "politely"
    except trio.Cancelled:
        ended[name] = "cancelled"
        raise


async def send_numbers(ws: WebSocketConnection, name: str) -> None:
    sent[name] = 0
    with suppress(ConnectionClosed):
        while True:
            await ws.send(str(sent[name]))
            sent[name] += 1
            await trio.sleep(0.5)


async def main(shutdown_timeout: float) -> None:
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[WebSocketServer]) -> None:
            await serve_websocket(
                handler,
                "127.0.0.1",
                0,
                handler_errors="raise",
                open_timeout=60,
                shutdown_timeout=shutdown_timeout,
                task_status=task_status,
            )

        server = await nursery.start(serve)
        print(server.port, flush=True)
    print(json.dumps({"received": received, "sent": sent, "ended": ended}), flush=True)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    trio.run(main, float(sys.argv[1]))
