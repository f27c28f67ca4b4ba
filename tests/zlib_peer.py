"""A peer that compresses with zlib alone, and both sides of a handshake that agrees on it."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from tests.raw import BINARY, CONTINUATION, REQUEST, TEXT, Frame, RawPeer
from tests.sides import Side
from trio_ws import Deflate, WebSocketConnection

FIELD = "Sec-WebSocket-Extensions"
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"
REPETITIVE = "\N{SNOWMAN}" * 100
#: Compresses whatever it is given, so that a test need not be long to be compressed.
ALWAYS = Deflate(min_size=0)


class Half:
    """One direction of a connection.

    Args:
        bits: The window.
        afresh: Whether each message is compressed by itself.
    """

    def __init__(self, bits: int = 15, *, afresh: bool = False) -> None:
        self._bits = bits
        self.afresh = afresh
        self._begin()

    def _begin(self) -> None:
        self._compressor = zlib.compressobj(wbits=-self._bits)
        self._decompressor = zlib.decompressobj(-self._bits)

    def compress(self, data: bytes) -> bytes:
        """§7.2.1"""
        compressed = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        assert compressed.endswith(TAIL)
        if self.afresh:
            self._begin()
        return compressed[: -len(TAIL)]

    def inflate(self, data: bytes) -> bytes:
        """§7.2.2. A little at a time, because zlib looks further back than the window in what it has just written."""
        data += TAIL
        inflated = bytearray()
        while data:
            inflated += self._decompressor.decompress(data, 16)
            data = self._decompressor.unconsumed_tail
        inflated += self._decompressor.decompress(b"")
        if self.afresh:
            self._begin()
        return bytes(inflated)


class ZlibPeer(RawPeer):
    """What :mod:`tests.raw` has, and both halves of the compression."""

    def agree(self, side: Side, answer: str) -> None:
        """Do as the answer says that both sides have agreed to."""
        self.side = side
        self.parameters = parameters(answer)
        theirs, ours = ("client", "server") if side.role == "server" else ("server", "client")
        self.sends, self.receives = self._half(theirs), self._half(ours)

    def _half(self, sender: str) -> Half:
        bits = int(self.parameters.get(f"{sender}_max_window_bits") or 15)
        # zlib cannot compress with 8 bits; what it inflates with 9 bits is a little more than that.
        return Half(max(bits, 9), afresh=f"{sender}_no_context_takeover" in self.parameters)

    async def send_compressed(self, message: str | bytes) -> None:
        opcode, data = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        await self.send(self.side.frame(opcode, self.sends.compress(data), rsv=RSV1))

    async def receive_message(self) -> tuple[str | bytes, bool]:
        """The next message, and whether it was compressed."""
        frames: list[Frame] = []
        while not (frames and frames[-1].fin):
            frame = await self.receive()
            assert frame is not None
            assert frame.opcode in ((CONTINUATION,) if frames else (TEXT, BINARY))
            assert frame.rsv in ((0,) if frames else (0, RSV1))  # §6: only the first one has RSV1
            frames.append(frame)
        data = b"".join(frame.payload for frame in frames)
        compressed = frames[0].rsv == RSV1
        if compressed:
            data = self.receives.inflate(data)
        return data.decode() if frames[0].opcode == TEXT else data, compressed


def parameters(answer: str) -> dict[str, str | None]:
    """The parameters of permessage-deflate in an answer, which must name each of them once."""
    name, *pairs = (part.strip() for part in answer.split(";"))
    assert name == "permessage-deflate"
    found = {key: value or None for key, _, value in (pair.partition("=") for pair in pairs)}
    assert len(found) == len(pairs)
    return found


def request(offers: Iterable[str]) -> bytes:
    """A client's request with these offers, each in a field of its own."""
    fields = "".join(f"{FIELD}: {offer}\r\n" for offer in offers)
    return REQUEST.removesuffix(b"\r\n") + fields.encode() + b"\r\n"


@asynccontextmanager
async def compressing(
    side: Side,
    *,
    offers: Sequence[str] = ("permessage-deflate",),
    answer: str = "permessage-deflate",
    compression: Any = ALWAYS,
    **options: Any,
) -> AsyncIterator[tuple[WebSocketConnection, ZlibPeer]]:
    """A connection on which compression has been agreed on.

    Args:
        side: Ours.
        offers: What the peer offers, if it is the client.
        answer: What the peer answers, if it is the server.
    """
    if side.role == "server":
        options["request"] = request(offers)
    else:
        options["fields"] = [f"{FIELD}: {answer}"]
    async with side.open(compression=compression, **options) as (ws, raw):
        peer = ZlibPeer(raw.stream)
        peer.agree(side, ws.response.headers[FIELD])
        yield ws, peer
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it may be over already
            await peer.send(side.close())
        await peer.stream.aclose()


async def exchange(ws: WebSocketConnection, peer: ZlibPeer, messages: Iterable[str | bytes]) -> None:
    """Each message goes there and back, compressed both times."""
    for message in messages:
        await peer.send_compressed(message)
        with trio.fail_after(1):
            assert await ws.receive() == message
        await ws.send(message)
        with trio.fail_after(1):
            received, compressed = await peer.receive_message()
        assert received == message
        # Of what is compressed by itself, only this is sure to shrink.
        assert compressed or (peer.receives.afresh and message != REPETITIVE)
