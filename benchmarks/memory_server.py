"""``python -m benchmarks.memory_server JSON``: a server whose handlers do what makes a connection take memory."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from trio_ws import WebSocketConnection, serve_websocket

from .process import Program

__all__ = ["LARGE", "MemoryServer"]

#: More than the kernel takes at once where buffers are small.
LARGE = bytes(2**21)
#: Bytes of a frame's header, at most (RFC 6455 §5.2).
MAX_HEADER = 14


@attrs.frozen(kw_only=True)
class MemoryServer:
    """Which handler, and what it gets."""

    handler: str
    #: For ``sends``: bytes of each message, and how many tasks do that.
    size: int = 0
    tasks: int = 1
    #: How long a slow handler thinks about each message.
    seconds: float = 0.1
    #: Bytes of the kernel's buffers for each connection, if it is not to choose.
    buffers: int | None = None
    #: Bytes from which on malloc(3) of the GNU C library gives each piece of memory pages of its own.
    mmap_threshold: int | None = None
    #: Of ``serve_websocket``.
    options: dict[str, Any] = attrs.Factory(dict)

    def program(self) -> Program:
        program = Program(__name__, json.dumps(attrs.asdict(self)))
        if self.mmap_threshold is not None:
            program.command[:0] = ["env", f"MALLOC_MMAP_THRESHOLD_={self.mmap_threshold}"]
        return program


async def echoes(ws: WebSocketConnection, server: MemoryServer) -> None:
    async for message in ws:
        await ws.send(message)


async def receives(ws: WebSocketConnection, server: MemoryServer) -> None:
    async for _ in ws:
        pass


async def receives_slowly(ws: WebSocketConnection, server: MemoryServer) -> None:
    async for _ in ws:
        await trio.sleep(server.seconds)


async def sends(ws: WebSocketConnection, server: MemoryServer) -> None:
    async def send() -> None:
        while True:
            await ws.send(message)

    message = bytes(server.size)
    await ws.receive()  # until then it is idle
    async with trio.open_nursery() as nursery:
        for _ in range(server.tasks):
            nursery.start_soon(send)


async def sends_ahead(ws: WebSocketConnection, server: MemoryServer) -> None:
    """While a task writes something large, leave behind it what there is room for; again when the peer says a word."""
    message, limit = bytes(server.size), server.options["write_limit"]
    await ws.receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, LARGE)
        await trio.sleep(server.seconds)
        while True:
            while ws.statistics().held_bytes + len(message) + MAX_HEADER <= limit:
                await ws.send(message)
            await ws.receive()


HANDLERS: dict[str, Callable[[WebSocketConnection, MemoryServer], Awaitable[None]]] = {
    one.__name__: one for one in (echoes, receives, receives_slowly, sends, sends_ahead)
}


# shown as buffers
async def listen(port: int, buffers: int) -> Sequence[trio.SocketListener]:
    """Listeners whose connections get buffers of this size; Linux doubles it, to have room for what it needs itself."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    for listener in listeners:
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    return listeners  # for serve_websocket(handler, listeners=listeners)
    # shown to here


async def main(server: MemoryServer) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        await HANDLERS[server.handler](ws, server)

    if server.buffers is None:
        listeners: Sequence[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    else:
        listeners = await listen(0, server.buffers)
    # No keepalive where peers do not read: this is about what they take before they are dropped.
    options = {"ping_interval": None} | server.options
    async with trio.open_nursery() as nursery:
        running = await nursery.start(partial(serve_websocket, handler, listeners=listeners, **options))
        print(running.port, flush=True)


if __name__ == "__main__":
    trio.run(main, MemoryServer(**json.loads(sys.argv[1])))
