"""256 MiB in a few hundred KB: inflating stops at the limit, and so does the memory that it takes."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.limits.measure import KIB, MIB, heap
from tests.raw import BINARY, CONTINUATION, REQUEST, TEXT, RawPeer, frame
from trio_ws import WebSocketConnection, wrap_client_stream, wrap_server_stream
from trio_ws._wire.upgrade import accept_key

MAX_SIZE = MIB
EXTENSION = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


async def open_as_client(peer: RawPeer) -> None:
    head = await peer.open_as_client(REQUEST.removesuffix(b"\r\n") + EXTENSION)
    assert b"permessage-deflate" in head


async def open_as_server(peer: RawPeer) -> None:
    head = await peer.read_head()
    assert b"permessage-deflate" in head
    key = next(line for line in head.decode().split("\r\n") if line.startswith("Sec-WebSocket-Key: "))
    await peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        accept_key(key.partition(": ")[2]).encode() + b"\r\n" + EXTENSION,
    )


@asynccontextmanager
async def compressing(role: str) -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """Our side of a connection with compression, in memory, and a peer made of bytes."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs)
    async with trio.open_nursery() as nursery:
        if role == "server":
            nursery.start_soon(open_as_client, peer)
            opened = wrap_server_stream(ours, max_size=MAX_SIZE)
        else:
            nursery.start_soon(open_as_server, peer)
            opened = wrap_client_stream(ours, "ws://localhost/", max_size=MAX_SIZE)
        async with opened as ws:
            await trio.testing.wait_all_tasks_blocked()
            yield ws, peer
            await trio.aclose_forcefully(theirs)
        nursery.cancel_scope.cancel()


def deflated(content: bytes, times: int = 1) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    data = b"".join(compressor.compress(content) for _ in range(times))
    return (data + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


BOMB = deflated(bytes(MIB), 256)
TEXT_BOMB = deflated(b"x" * MIB, 256)


def in_frames(data: bytes, count: int, opcode: int, *, mask: bool) -> bytes:
    step = -(-len(data) // count)
    return b"".join(
        frame(
            CONTINUATION if start else opcode,
            data[start : start + step],
            fin=start + step >= len(data),
            rsv=0 if start else 4,
            mask=mask,
        )
        for start in range(0, len(data), step)
    )


def in_reads(data: bytes, first: int) -> list[bytes]:
    """The data as it is sent: so many bytes, and then the rest in moderate portions."""
    return [data[:first], *(data[start : start + 2**14] for start in range(first, len(data), 2**14))]


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(("content", "opcode"), [(BOMB, BINARY), (TEXT_BOMB, TEXT)], ids=["binary", "text"])
@pytest.mark.parametrize(
    ("count", "first"),
    [
        pytest.param(1, 2**14, id="one-frame"),
        pytest.param(1000, 2**14, id="1000-fragments"),
        # What comes first is just within the limit, what follows is beyond it: the worst place to cut.
        pytest.param(1, 1000, id="cut-in-front-of-the-limit"),
        pytest.param(1, 600, id="cut-halfway-to-the-limit"),
    ],
)
async def test_bomb_is_1009_and_takes_the_limit_and_little_more(
    role: str, content: bytes, opcode: int, count: int, first: int, autojump_clock: trio.testing.MockClock
) -> None:
    data = in_frames(content, count, opcode, mask=role == "server")
    assert len(data) < 300 * KIB
    reads = in_reads(data, first)
    async with compressing(role) as (ws, peer):
        with heap() as measured:
            for read in reads:
                await peer.send(read)
                await trio.testing.wait_all_tasks_blocked()
            peak = measured.peak()
        assert (await ws.wait_closed()).sent_code == 1009
    assert peak <= MAX_SIZE + 256 * KIB

    async with compressing(role) as (ws, peer):
        await peer.send(frame(TEXT, deflated(b"hello"), rsv=4, mask=role == "server"))
        assert await ws.receive() == "hello"
