"""Streams that something else has accepted: a framework, a tunnel, a test.

Type::

    python examples/adopt_stream.py

It prints two addresses. Behind both is nothing but ``trio.serve_tcp``. At the first, wrap_server_stream() does
the whole handshake. At the second, receive_upgrade() shows the request first: ``/echo`` is accepted, anything else
gets a 404.
"""

from __future__ import annotations

import argparse
import signal
from functools import partial

import trio

from trio_ws import (
    ConnectionClosed,
    HandshakeError,
    Response,
    WebSocketConnection,
    receive_upgrade,
    wrap_server_stream,
)


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def in_one_step(stream: trio.SocketStream) -> None:
    try:
        async with wrap_server_stream(stream, subprotocols=["echo"]) as ws:
            await echo(ws)
    except (HandshakeError, ConnectionClosed) as exc:
        # One client's failure is not the program's. The client has had its answer or its close frame already.
        print(f"client failed: {exc}")


async def in_two_steps(stream: trio.SocketStream) -> None:
    try:
        async with receive_upgrade(stream) as upgrade:
            # Nothing has been checked here except that it is an HTTP request; not its Origin either.
            if upgrade.request.path != "/echo":
                await upgrade.reject(Response(404, "Try /echo.\n"))
                return
            async with upgrade.accept(headers={"X-Greeting": "hello"}) as ws:
                await echo(ws)
    except (HandshakeError, ConnectionClosed) as exc:
        print(f"client failed: {exc}")


async def main(host: str) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            for handler in (in_one_step, in_two_steps):
                listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host=host))
                port = listeners[0].socket.getsockname()[1]
                print(f"{handler.__name__}: listening on ws://{host}:{port}/", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()  # each client gets 1001 where that costs no waiting


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="WebSockets on streams that something else has accepted.")
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    trio.run(main, options.host)
