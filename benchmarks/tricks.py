"""``python -m benchmarks.tricks``: what each trick of the hot path saves, as the comments in the package say it.

Microseconds of CPU time, the least of several rounds; and bytes.
"""

from __future__ import annotations

import os
import socket
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from unittest import mock

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

from trio_ws._wire import frames, protocol

from .table import table

__all__ = ["figures"]

ROUNDS = 9
MESSAGE = bytes(64)
KEY = b"abcd"
LARGE = b"".join(frames.make_frame(0x82, bytes(65536), True))
FRAME = bytes([0x82, 0x80 | len(MESSAGE)]) + KEY + frames.mask(MESSAGE, KEY)


def figures(times: int) -> Iterator[tuple[str, float]]:
    """What there is to say, and how much that is; each is done so many times in a round."""

    def least(act: Callable[[], object]) -> float:
        return min(_microseconds(act, times) for _ in range(ROUNDS))

    yield from _lanes(least)
    yield from _sockets(least)
    yield from trio.run(_scheduler, times)


def _microseconds(act: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) / times * 1e6


def _lanes(least: Callable[[Callable[[], object]], float]) -> Iterator[tuple[str, float]]:
    slow = Connection(ConnectionType.SERVER)
    fast = protocol.Protocol("server", max_size=None, max_fragments=1)

    def read_slowly() -> None:
        slow.receive_data(FRAME)
        list(slow.events())

    yield "64 B read by wsproto", least(read_slowly)
    yield "64 B made by wsproto", least(lambda: slow.send(BytesMessage(data=MESSAGE)))
    yield "64 B read in the fast lane", least(lambda: fast.feed(FRAME))
    with mock.patch.object(protocol, "split", frames.split_in_python):
        yield "the same without the C extension", least(lambda: fast.feed(FRAME))

    def read_in_two() -> None:
        fast.feed(LARGE[:65536])
        fast.feed(LARGE[65536:])

    yield "64 KiB read in the fast lane, in one piece", least(lambda: fast.feed(LARGE))
    yield "64 KiB read in the fast lane, in two", least(read_in_two)
    yield "64 B made in the fast lane", least(lambda: fast.parts(MESSAGE))
    yield "a masking key", least(lambda: os.urandom(4))


def _sockets(least: Callable[[Callable[[], object]], float]) -> Iterator[tuple[str, float]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours, theirs = socket.create_connection(listener.getsockname()), listener.accept()[0]
    with ours, theirs:
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ours.setblocking(False)

        def write(times: int, data: bytes) -> None:
            for _ in range(times):
                os.write(ours.fileno(), data)
            theirs.recv(2**16)

        def read_nothing() -> None:
            with suppress(BlockingIOError):
                os.read(ours.fileno(), 2**16)

        yield "16 frames in as many writes", least(lambda: write(16, MESSAGE))
        yield "16 frames in one write", least(lambda: write(1, 16 * MESSAGE))
        yield "a read that finds nothing", least(read_nothing)


async def _scheduler(times: int) -> list[tuple[str, float]]:
    async def nothing() -> None:
        pass

    async def least(act: Callable[[], Awaitable[object]]) -> float:
        found = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(times):
                await act()
            found.append((time.process_time() - began) / times * 1e6)
        return min(found)

    full = trio.open_memory_channel[None](0)[0]

    async def find_full() -> None:
        with suppress(trio.WouldBlock):
            full.send_nowait(None)

    async def close_forcefully() -> None:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(trio.SocketStream(trio.socket.socket()))

    async def close() -> None:
        trio.SocketStream(trio.socket.socket()).socket.close()

    closing = await least(close_forcefully) - await least(close)
    return [
        ("a coroutine more", await least(nothing)),
        ("a channel that is full", await least(find_full)),
        ("scopes to close a socket in", closing),
        ("bytes of a memory channel", _bytes(lambda: trio.open_memory_channel[None](16))),
        ("bytes of a cancel scope that is entered", _bytes_of_scopes()),
    ]


def _bytes(make: Callable[[], object], count: int = 200) -> float:
    kept = []
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(count):
        kept.append(make())
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size / count


def _bytes_of_scopes() -> float:
    entered: list[trio.CancelScope] = []

    def enter() -> None:
        entered.append(trio.CancelScope())
        entered[-1].__enter__()

    size = _bytes(enter)
    while entered:
        entered.pop().__exit__(None, None, None)
    return size


if __name__ == "__main__":
    print(table(["", "us or bytes"], [[name, f"{figure:.2f}"] for name, figure in figures(5000)]))
