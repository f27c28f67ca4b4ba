"""A peer made of bytes: it can send what no library would, and it knows nothing of how trio_ws or wsproto do it."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import trio
import trio.testing

from trio_ws import WebSocketConnection, wrap_client_stream, wrap_server_stream

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 §1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA

REQUEST = (
    "GET /chat HTTP/1.1\r\n"
    "Host: localhost\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "\r\n"
).encode()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in another task and can only be looked at. The caller brings the time limit."""
    while not condition():  # noqa: ASYNC110  # there is no event to wait for
        await trio.sleep(0.001)


class Frame(NamedTuple):
    opcode: int
    payload: bytes
    fin: bool = True
    masked: bool = False
    rsv: int = 0

    @property
    def close_code(self) -> int:
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0) -> bytes:
    """One frame as bytes; ``mask=True`` as clients send it."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    flag = mask << 7
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 2**16:
        head += struct.pack("!BH", flag | 126, len(payload))
    else:
        head += struct.pack("!BQ", flag | 127, len(payload))
    if not mask:
        return head + payload
    key = b"\x01\x02\x03\x04"
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def close(code: int | None = 1000, reason: bytes = b"", *, mask: bool = True) -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason, mask=mask)


def frames(data: bytes) -> Iterator[Frame]:
    """The whole frames at the beginning of ``data``; use :func:`torn` to see whether anything is left."""
    for parsed, _ in _split(data):
        yield parsed


def torn(data: bytes) -> bytes:
    """What is left of ``data`` behind its last whole frame."""
    ends = [end for _, end in _split(data)]
    return data[ends[-1] :] if ends else data


def _split(data: bytes) -> Iterator[tuple[Frame, int]]:
    position = 0
    while len(data) - position >= 2:
        first, second = data[position], data[position + 1]
        start, size = position + 2, second & 127
        extended = {126: 2, 127: 8}.get(size, 0)
        if len(data) < start + extended:
            return
        if extended:
            size = int.from_bytes(data[start : start + extended])
            start += extended
        key = b"\0\0\0\0"
        if second & 128:
            key, start = data[start : start + 4], start + 4
        if len(data) < start + size:
            return
        payload = data[start : start + size]
        if any(key):
            payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
        position = start + size
        yield Frame(first & 15, payload, bool(first & 128), bool(second & 128), first >> 4 & 7), position


class RawPeer:
    """Either side of a WebSocket on a stream, byte by byte."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        #: Everything received behind the opening handshake and not taken by :meth:`receive` yet.
        self.buffer = b""
        #: Set when the opening handshake is done.
        self.opened = trio.Event()

    async def send(self, *data: bytes) -> None:
        await self.stream.send_all(b"".join(data))

    async def send_eof(self) -> None:
        """Say that nothing more comes, and go on reading."""
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()

    async def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self.buffer:
            data = await self.stream.receive_some()
            assert data, f"the stream ended in the middle of a head: {self.buffer!r}"
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    async def open_as_client(self, request: bytes = REQUEST) -> bytes:
        """Do a client's opening handshake; return the server's response head, which must be a 101."""
        await self.send(request)
        head = await self.read_head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.opened.set()
        return head

    async def open_as_server(self, *fields: str) -> bytes:
        """Do a server's opening handshake, with further fields in the answer; return the client's request head."""
        head = await self.read_head()
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        digest = hashlib.sha1(key.split(b":")[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        await self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: "
            + base64.b64encode(digest)
            + "".join(f"\r\n{field}" for field in fields).encode()
            + b"\r\n\r\n"
        )
        self.opened.set()
        return head

    async def receive(self) -> Frame | None:
        """The next frame, or None at the end of the stream, which must not come in the middle of one."""
        while True:
            for parsed, end in _split(self.buffer):
                self.buffer = self.buffer[end:]
                return parsed
            data = await self.stream.receive_some()
            if not data:
                assert not self.buffer, f"the stream ended in the middle of a frame: {self.buffer[:20]!r}..."
                return None
            self.buffer += data

    async def read_to_end(self) -> bytes:
        """Everything until the end of the stream, also an end by failure."""
        data = self.buffer
        try:
            while chunk := await self.stream.receive_some():
                data += chunk
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.buffer = b""
        return data


def _stream_pair(lockstep: bool, sockets: bool) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    if sockets:
        ours, theirs = trio.socket.socketpair()
        return trio.SocketStream(ours), trio.SocketStream(theirs)
    return trio.testing.lockstep_stream_pair() if lockstep else trio.testing.memory_stream_pair()


@asynccontextmanager
async def raw_client(
    *,
    lockstep: bool = False,
    sockets: bool = False,
    request: bytes = REQUEST,
    wrap: Callable[[trio.abc.Stream], trio.abc.Stream] = lambda s: s,
    **options: Any,
) -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """Our server's side of a connection in memory, and a client made of bytes.

    ``wrap`` puts something around our end of the stream.
    """
    ours, theirs = _stream_pair(lockstep, sockets)
    peer = RawPeer(theirs)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open_as_client, request)
        try:
            async with wrap_server_stream(wrap(ours), **options) as ws:
                await peer.opened.wait()
                yield ws, peer
        except BaseException as exc:
            error = exc
        nursery.cancel_scope.cancel()
    if sockets:  # what was sent to a stream in memory can still be read
        await trio.aclose_forcefully(theirs)
    if error is not None:
        raise error


@asynccontextmanager
async def raw_server(
    *, lockstep: bool = False, sockets: bool = False, fields: Sequence[str] = (), **options: Any
) -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """Our client's side of a connection in memory, and a server made of bytes.

    ``fields`` are further ones in the server's answer.
    """
    ours, theirs = _stream_pair(lockstep, sockets)
    peer = RawPeer(theirs)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open_as_server, *fields)
        try:
            async with wrap_client_stream(ours, "ws://localhost/chat", **options) as ws:
                await peer.opened.wait()
                yield ws, peer
        except BaseException as exc:
            error = exc
        nursery.cancel_scope.cancel()
    if sockets:  # what was sent to a stream in memory can still be read
        await trio.aclose_forcefully(theirs)
    if error is not None:
        raise error


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener without sockets: :meth:`connect` gives the client's end of a stream whose other end is accepted."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](1000)

    def connect(self) -> trio.StapledStream[Any, Any]:
        ours, theirs = trio.testing.memory_stream_pair()
        self.connect_with(theirs)
        return ours

    def connect_with(self, stream: trio.abc.Stream) -> None:
        """Have this stream accepted."""
        self._send.send_nowait(stream)

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        self._send.close()
        with suppress(trio.EndOfChannel, trio.ClosedResourceError):
            while True:  # as the kernel does with connections that nobody has accepted
                stream = self._receive.receive_nowait()
                assert isinstance(stream, trio.StapledStream)
                stream.send_stream.close()
                stream.receive_stream.close()
        self._receive.close()
