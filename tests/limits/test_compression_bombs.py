"""256 MiB in a few hundred KB: inflating stops at the limit, and so does the memory that it takes."""

from __future__ import annotations

import zlib

import pytest
import trio.testing

from tests.limits.measure import KIB, MIB, heap
from tests.raw import BINARY, CONTINUATION, TEXT
from tests.sides import EITHER_SIDE, Side
from tests.zlib_peer import RSV1, TAIL, compressing, exchange

MAX_SIZE = MIB


def bomb(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    data = b"".join(compressor.compress(content) for _ in range(256))
    return (data + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


BOMB, TEXT_BOMB = bomb(bytes(MIB)), bomb(b"x" * MIB)


def in_frames(side: Side, data: bytes, count: int, opcode: int) -> bytes:
    step = -(-len(data) // count)
    return b"".join(
        side.frame(
            CONTINUATION if start else opcode,
            data[start : start + step],
            fin=start + step >= len(data),
            rsv=0 if start else RSV1,
        )
        for start in range(0, len(data), step)
    )


def in_reads(data: bytes, first: int) -> list[bytes]:
    """The data as it is sent: so many bytes, and then the rest in moderate portions."""
    return [data[:first], *(data[start : start + 2**14] for start in range(first, len(data), 2**14))]


@EITHER_SIDE
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
    side: Side, content: bytes, opcode: int, count: int, first: int, autojump_clock: trio.testing.MockClock
) -> None:
    data = in_frames(side, content, count, opcode)
    assert len(data) < 300 * KIB
    reads = in_reads(data, first)
    async with compressing(side, max_size=MAX_SIZE) as (ws, peer):
        with heap() as measured:
            for read in reads:
                await peer.send(read)
                await trio.testing.wait_all_tasks_blocked()
            peak = measured.peak()
        assert (await ws.wait_closed()).sent_code == 1009
    assert peak <= MAX_SIZE + 256 * KIB

    async with compressing(side) as (ws, peer):
        await exchange(ws, peer, ["hello"])
