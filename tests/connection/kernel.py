"""The server's side of a connection on a socket, and what the kernel takes of the bytes that it writes there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.raw import REQUEST, RawPeer
from trio_ws import WebSocketConnection, wrap_server_stream

__all__ = ["Kernel"]


class Kernel:
    """It takes all that is written, or as many bytes as it has been told to and then no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        #: What each call wrote since the connection is open.
        self.writes: list[bytes] = []
        #: Whether KeyboardInterrupt might have come behind one of them, before it was known how much it wrote.
        self.interruptible = False
        self._monkeypatch = monkeypatch
        self._really_write = os.write
        self._room: int | None = None
        self._made_room = trio.Event()

    @asynccontextmanager
    async def open(
        self, *, request: bytes = REQUEST, **options: Any
    ) -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
        """Our side, and a client made of bytes, which has gone when our side is left in order."""
        ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
        self.stream, peer = ours, RawPeer(theirs)
        self._monkeypatch.setattr(os, "write", lambda fd, data: self._take(fd, bytes(data)))
        self._monkeypatch.setattr(os, "writev", lambda fd, parts: self._take(fd, b"".join(parts)))
        async with theirs, trio.open_nursery() as nursery:
            nursery.start_soon(peer.open_as_client, request)
            async with wrap_server_stream(ours, close_timeout=1, **options) as ws:
                await peer.opened.wait()
                self.writes.clear()
                self.interruptible = False
                try:
                    yield ws, peer
                finally:
                    self.make_room()
                await theirs.aclose()

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def _take(self, fd: int, data: bytes) -> int:
        if fd != self.stream.socket.fileno():
            return self._really_write(fd, data)
        self.interruptible |= not trio.lowlevel.currently_ki_protected()
        data = data[: self._room]
        if not data:
            raise BlockingIOError
        if self._room is not None:
            self._room -= len(data)
        self.writes.append(data)
        return self._really_write(fd, data)

    def leave_room_for(self, size: int) -> None:
        """Take so many bytes from now on, and then no more."""
        self._room = size
        self._made_room = trio.Event()
        self._monkeypatch.setattr(self.stream.socket, "send", self._send)

    def make_room(self) -> None:
        self._room = None
        self._made_room.set()

    async def _send(self, data: memoryview) -> int:
        await self._made_room.wait()
        return self._take(self.stream.socket.fileno(), bytes(data))
