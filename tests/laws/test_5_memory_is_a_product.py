"""Law 5: memory is max_queue messages x max_size bytes, plus one message being assembled, plus one read chunk."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CONTINUATION, PING, TEXT, close, frame, raw_client
from tests.zlib_peer import request
from trio_ws.testing import FaultyStream


async def test_reading_stops_when_the_queue_is_full(autojump_clock: trio.testing.MockClock) -> None:
    """Of a thousand messages, max_queue and one read are taken from the stream; the rest stays with the peer."""
    message = frame(BINARY, bytes(1000))
    async with raw_client(max_queue=4, read_limit=2500, ping_interval=None) as (ws, peer):
        await peer.send(message * 1000)
        await trio.testing.wait_all_tasks_blocked()
        statistics = ws.statistics()
        assert statistics.queued_messages == 4
        assert statistics.bytes_received <= 4 * len(message) + 2 * 2500
        await ws.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert ws.statistics().bytes_received <= 5 * len(message) + 2 * 2500


async def test_no_read_is_larger_than_read_limit(autojump_clock: trio.testing.MockClock) -> None:
    sizes: list[int] = []

    class Recording(FaultyStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            data = await super().receive_some(max_bytes)
            sizes.append(len(data))
            return data

    async with raw_client(wrap=Recording, read_limit=1000) as (ws, peer):
        await peer.send(frame(BINARY, bytes(100_000)), close())
        assert await ws.receive() == bytes(100_000)
    assert max(sizes) == 1000


@pytest.mark.parametrize(
    "announced",
    [
        pytest.param(struct.pack("!BBQ", 0x82, 0xFF, 2**30), id="1-GiB"),
        pytest.param(struct.pack("!BBQ", 0x82, 0xFF, 2**63 - 1), id="largest-length"),
        pytest.param(struct.pack("!BBH", 0x82, 0xFE, 1001), id="one-byte-over"),
    ],
)
async def test_frame_over_the_limit_is_refused_from_its_header(
    announced: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_client(max_size=1000) as (ws, peer):
        await peer.send(announced)
        with trio.fail_after(1):
            assert (await ws.wait_closed()).sent_code == 1009


@pytest.mark.parametrize("size", [0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF])
async def test_length_with_the_highest_bit_set_is_a_protocol_error(
    size: int, autojump_clock: trio.testing.MockClock
) -> None:
    """RFC 6455 §5.2: "the most significant bit MUST be 0"."""
    async with raw_client(max_size=None) as (ws, peer):
        await peer.send(struct.pack("!BBQ", 0x82, 0xFF, size))
        assert (await ws.wait_closed()).sent_code == 1002


@pytest.mark.parametrize("fragments", [1, 2, 7])
@pytest.mark.parametrize("excess", [-1, 0, 1])
async def test_limit_counts_all_fragments_of_a_message(
    fragments: int, excess: int, autojump_clock: trio.testing.MockClock
) -> None:
    payload = bytes(1000 + excess)
    step = -(-len(payload) // fragments)
    pieces = [payload[start : start + step] for start in range(0, len(payload), step)]
    async with raw_client(max_size=1000) as (ws, peer):
        for index, piece in enumerate(pieces):
            opcode = CONTINUATION if index else BINARY
            await peer.send(frame(opcode, piece, fin=index == len(pieces) - 1), frame(PING))
        if excess > 0:
            assert (await ws.wait_closed()).sent_code == 1009
        else:
            assert await ws.receive() == payload
            await peer.send(frame(BINARY, bytes(1000)))  # and the count begins anew
            assert await ws.receive() == bytes(1000)


async def test_text_is_measured_in_bytes(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(max_size=9) as (ws, peer):
        await peer.send(frame(TEXT, "€€€".encode()))
        assert await ws.receive() == "€€€"
        await peer.send(frame(TEXT, "€€€!".encode()))
        assert (await ws.wait_closed()).sent_code == 1009


async def test_empty_fragments_count(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(max_fragments=10) as (ws, peer):
        await peer.send(frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False) * 8, frame(CONTINUATION))
        assert await ws.receive() == ""
        await peer.send(frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False) * 9, frame(CONTINUATION))
        reason = await ws.wait_closed()
        assert (reason.sent_code, reason.sent_reason) == (1008, "message over the limit of 10 fragments")


async def test_header_that_arrives_in_pieces_is_counted_once(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(max_size=1000, max_fragments=1) as (ws, peer):
        for byte in frame(BINARY, bytes(600)):
            await peer.send(bytes([byte]))
        assert await ws.receive() == bytes(600)


async def test_message_in_tiny_fragments_costs_its_bytes(autojump_clock: trio.testing.MockClock) -> None:
    """Not an object for each of them."""
    count = 20_000
    async with raw_client(max_size=2 * count, max_fragments=count + 1) as (ws, peer):
        data = frame(BINARY, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * (count - 1)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for start in range(0, len(data), 2**16):
                await peer.send(data[start : start + 2**16])
                await trio.testing.wait_all_tasks_blocked()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 6 * count  # the buffer and some small objects; an object for each would be 50 times
        await peer.send(frame(CONTINUATION))
        assert await ws.receive() == b"x" * count


async def test_streamed_message_is_bounded_by_the_queue_as_well(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(max_size=None, max_queue=2, read_limit=1000, ping_interval=None) as (ws, peer):
        await peer.send(frame(BINARY, bytes(100_000)))
        async with ws.receive_fragments() as pieces:
            await trio.testing.wait_all_tasks_blocked()
            assert ws.statistics().bytes_received <= 6000
            total = 0
            async for piece in pieces:
                total += len(piece)
            assert total == 100_000


@pytest.mark.parametrize("noise", [0, 3100, 7000], ids=["1-KiB-each", "4-KiB-each", "8-KiB-each"])
@pytest.mark.parametrize("max_queue", [1, 4])
async def test_queue_bounds_what_compressed_messages_inflate_to(
    max_queue: int, noise: int, autojump_clock: trio.testing.MockClock
) -> None:
    """One read holds very many messages of a megabyte; no more are made of it than there is room for, and one."""
    size = 2**20
    content = random.Random(1).randbytes(noise) + bytes(size - noise)
    compressor = zlib.compressobj(9, wbits=-15)
    message = (compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    offer = "permessage-deflate; client_no_context_takeover"
    data = frame(BINARY, message, rsv=4)
    count = 2**16 // len(data)
    assert count > max_queue + 1
    options: dict[str, Any] = {"max_size": size, "max_queue": max_queue, "ping_interval": None}
    for _ in range(2):  # the first time, much is allocated that stays, and is not the connection's
        async with raw_client(request=request([offer]), **options) as (ws, peer):
            await peer.send(data * count + close())
            tracemalloc.start()
            try:
                await trio.testing.wait_all_tasks_blocked()
                kept, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert ws.statistics().queued_messages == max_queue
            assert [len(received) async for received in ws] == [size] * count
    # What the documentation says, the batch that is on its way, and zlib's window.
    documented = (max_queue + 1) * size + 2**16
    assert kept < documented + 2**17
    assert peak < documented + 2**18


async def test_what_is_held_for_a_busy_writer_is_at_most_write_limit(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(lockstep=True, write_limit=1000, ping_interval=None) as (ws, peer):
        returned = 0

        async def send() -> None:
            nonlocal returned
            await ws.send(bytes(100))
            returned += 1

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            assert returned > 0
            assert ws.statistics().held_bytes <= 1000
            nursery.start_soon(peer.read_to_end)
            while returned < 50:
                await trio.testing.wait_all_tasks_blocked()
            assert ws.statistics().held_bytes == 0
            await peer.send(close())
