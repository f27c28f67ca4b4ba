"""RFC 6455, text that is not UTF-8 fails at its first wrong byte (§8.1). The ids are section numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.raw import CLOSE, CONTINUATION, PING, TEXT
from tests.sides import EITHER_SIDE, Side
from trio_ws import WebSocketConnection
from trio_ws._wire.protocol import Failure, Protocol

TAIL = (0x80, 0xBF)

#: RFC 3629 §4, the syntax of UTF-8: the least and the greatest value of each byte of a character.
CHARACTERS = [
    [(0x00, 0x7F)],
    [(0xC2, 0xDF), TAIL],
    [(0xE0, 0xE0), (0xA0, 0xBF), TAIL],
    [(0xE1, 0xEC), TAIL, TAIL],
    [(0xED, 0xED), (0x80, 0x9F), TAIL],
    [(0xEE, 0xEF), TAIL, TAIL],
    [(0xF0, 0xF0), (0x90, 0xBF), TAIL, TAIL],
    [(0xF1, 0xF3), TAIL, TAIL, TAIL],
    [(0xF4, 0xF4), (0x80, 0x8F), TAIL, TAIL],
]

#: Both sides of every edge in that table.
EDGES = sorted(
    {value % 256 for bounds in CHARACTERS for low, high in bounds for value in (low - 1, low, high, high + 1)}
)


def beginnings(start: bytes = b"") -> Iterator[tuple[bytes, set[int]]]:
    """Every beginning of a character that is made of edges, and which of the edges may follow it."""
    forms = [
        bounds
        for bounds in CHARACTERS
        if len(bounds) > len(start)
        and all(low <= byte <= high for byte, (low, high) in zip(start, bounds, strict=False))
    ]
    if forms:
        bounds_here = [bounds[len(start)] for bounds in forms]
        allowed = {edge for edge in EDGES if any(low <= edge <= high for low, high in bounds_here)}
        yield start, allowed
        for edge in sorted(allowed):
            yield from beginnings(start + bytes([edge]))


@EITHER_SIDE
@pytest.mark.parametrize(
    ("start", "allowed"),
    [pytest.param(*beginning, id=f"8.1-behind-{beginning[0].hex() or 'nothing'}") for beginning in beginnings()],
)
def test_first_byte_that_cannot_be_valid_fails_the_connection_and_no_earlier_one_does(
    start: bytes, allowed: set[int], side: Side
) -> None:
    for byte in EDGES:
        protocol = Protocol(side.role, max_size=None, max_fragments=1)
        data = side.frame(TEXT, start + bytes([byte]) + bytes(100))[:-100]
        assert not any(isinstance(event, Failure) for event in protocol.feed(data[:-1]))
        events = protocol.feed(data[-1:])
        if start == b"\xed" and 0xA0 <= byte <= 0xBF:
            # A surrogate. Python's decoder, which wsproto uses, looks at its third byte before it says so, whatever
            # that is. This can go when bytes.decode() does without (CPython's "surrogatepass" is why it does not).
            events += protocol.feed(side.frame(TEXT, start + bytes([byte]) + b"\x80")[-1:])
        failures = [event for event in events if isinstance(event, Failure)]
        assert [failure.code for failure in failures] == ([] if byte in allowed else [1007]), hex(byte)


VALID = "κ€😀x".encode()


async def fails_at_the_last_byte(ws: WebSocketConnection, stream: trio.abc.SendStream, data: bytes) -> None:
    for byte in data[:-1]:
        await stream.send_all(bytes([byte]))
        await trio.testing.wait_all_tasks_blocked()
        assert ws.close_reason is None
    await stream.send_all(data[-1:])
    with trio.fail_after(1):
        assert (await ws.wait_closed()).sent_code == 1007


@EITHER_SIDE
@pytest.mark.parametrize(
    "position", [pytest.param(position, id=f"8.1-byte-{position}-of-a-frame") for position in range(len(VALID) + 1)]
)
async def test_wrong_byte_anywhere_in_a_frame_is_not_kept_until_the_frame_ends(
    position: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open() as (ws, peer):
        data = side.frame(TEXT, VALID[:position] + b"\xff" + bytes(1000))[:-1000]
        await fails_at_the_last_byte(ws, peer.stream, data)
        answer = await peer.receive()
        assert answer is not None
        assert (answer.opcode, answer.close_code) == (CLOSE, 1007)
        assert await peer.receive() is None


@EITHER_SIDE
@pytest.mark.parametrize(
    "position", [pytest.param(position, id=f"8.1-byte-{position}-of-a-message") for position in range(len(VALID) + 1)]
)
async def test_wrong_byte_anywhere_in_a_message_is_not_kept_until_the_message_ends(
    position: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    """Every byte in a frame of its own, with pings in between."""
    frames = [side.frame(TEXT, fin=False)]
    for byte in VALID[:position]:
        frames += [side.frame(CONTINUATION, bytes([byte]), fin=False), side.frame(PING)]
    frames.append(side.frame(CONTINUATION, b"\xff", fin=False))
    async with side.open() as (ws, peer):
        await fails_at_the_last_byte(ws, peer.stream, b"".join(frames))


@EITHER_SIDE
@pytest.mark.parametrize(
    "end",
    [pytest.param(end, id=f"8.1-{VALID[:end].hex()}") for end in range(len(VALID)) if VALID[end] in range(128, 192)],
)
async def test_text_may_not_end_within_a_character(
    end: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    for message in (
        side.frame(TEXT, VALID[:end]),
        side.frame(TEXT, VALID[:end], fin=False) + side.frame(CONTINUATION),
        side.close(1000, VALID[:end]),
    ):
        async with side.open() as (ws, peer):
            await peer.send(message)
            with trio.fail_after(1):
                assert (await ws.wait_closed()).sent_code == 1007
