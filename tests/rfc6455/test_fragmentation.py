"""RFC 6455, fragments and the control frames between them (§5.4, §5.5). The ids are section numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, RawPeer
from tests.sides import EITHER_SIDE, Side

#: Fragments that end within a character, one of them empty.
PARTS = [b"\xe2\x82", b"", b"\xac \xf0", b"\x9f\x98\x80"]
MESSAGE = "€ 😀"


def fragmented(side: Side, between: dict[int, bytes]) -> bytes:
    """The message in fragments, with other frames in front of those whose index is a key, or behind the last."""
    pieces = []
    for index, part in enumerate(PARTS):
        pieces.append(between.get(index, b""))
        pieces.append(side.frame(CONTINUATION if index else TEXT, part, fin=index == len(PARTS) - 1))
    return b"".join([*pieces, between.get(len(PARTS), b"")])


def whole(data: bytes) -> Iterator[list[bytes]]:
    yield [data]


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]


def every_size(data: bytes) -> Iterator[list[bytes]]:
    for size in range(1, 20):
        yield [data[start : start + size] for start in range(0, len(data), size)]


CHUNKINGS = pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(whole, id="in-one-read"),
        pytest.param(every_cut, id="cut-anywhere"),
        pytest.param(every_size, id="in-reads-of-any-size"),
    ],
)


@EITHER_SIDE
@CHUNKINGS
@pytest.mark.parametrize(
    ("opcode", "payload"),
    [
        pytest.param(PING, b"", id="5.4-ping-between-fragments"),
        pytest.param(PING, b"p" * 125, id="5.5-longest-ping-between-fragments"),
        pytest.param(PONG, b"q", id="5.5.3-pong-between-fragments"),
    ],
)
async def test_control_frame_between_fragments_leaves_the_message_alone(
    opcode: int,
    payload: bytes,
    chunks: Callable[[bytes], Iterator[list[bytes]]],
    side: Side,
    autojump_clock: trio.testing.MockClock,
) -> None:
    places = range(len(PARTS) + 1)
    control = side.frame(opcode, payload)
    pongs = {payload} if opcode == PING else set()
    async with side.open(ping_interval=None) as (ws, peer):
        for between in [*({place: control} for place in places), dict.fromkeys(places, control * 2)]:
            for reads in chunks(fragmented(side, between)):
                for read in reads:
                    await peer.send(read)
                    await trio.testing.wait_all_tasks_blocked()
                assert await ws.receive() == MESSAGE
                # §5.5.3: of several pings that wait for an answer only the last has to get it.
                await peer.send(side.frame(PING, b"end"))
                assert {answer.payload async for answer in answers(peer)} == pongs
        await peer.send(side.close())


async def answers(peer: RawPeer) -> AsyncIterator[Frame]:
    """The pongs in front of the one for b"end"."""
    while True:
        answer = await peer.receive()
        assert answer is not None
        assert answer.opcode == PONG
        if answer.payload == b"end":
            return
        yield answer


@EITHER_SIDE
@pytest.mark.parametrize(
    "place", [pytest.param(place, id=f"5.5.2-{place}-fragments") for place in range(1, len(PARTS))]
)
async def test_ping_is_answered_while_its_message_is_unfinished(
    place: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    ping = side.frame(PING, b"now")
    before, _, after = fragmented(side, {place: ping}).partition(ping)
    async with side.open(ping_interval=None) as (ws, peer):
        await peer.send(before, ping)
        with trio.fail_after(1):
            assert await peer.receive() == Frame(PONG, b"now", masked=not side.peer_masks)
        await peer.send(after)
        assert await ws.receive() == MESSAGE
        await peer.send(side.close())


@EITHER_SIDE
@pytest.mark.parametrize(
    "place", [pytest.param(place, id=f"5.5.1-{place}-fragments") for place in range(1, len(PARTS))]
)
async def test_close_between_fragments_is_answered_and_the_rest_is_not_heard(
    place: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open() as (ws, peer):
        await peer.send(fragmented(side, {place: side.close(1001)}))
        assert [message async for message in ws] == []
        answer = await peer.receive()
        assert answer is not None
        assert (answer.opcode, answer.close_code) == (CLOSE, 1001)
        await peer.stream.aclose()


@EITHER_SIDE
@pytest.mark.parametrize("opcode", [pytest.param(TEXT, id="5.4-text"), pytest.param(BINARY, id="5.4-binary")])
async def test_message_may_be_all_empty_fragments(
    opcode: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open() as (ws, peer):
        await peer.send(
            side.frame(opcode, fin=False),
            side.frame(CONTINUATION, fin=False),
            side.frame(PING),
            side.frame(CONTINUATION),
        )
        assert await ws.receive() == ("" if opcode == TEXT else b"")
        await peer.send(side.close())


@EITHER_SIDE
@pytest.mark.parametrize("section", [pytest.param("5.5.2", id="5.5.2-every-length-of-payload")])
async def test_pong_has_the_payload_of_its_ping(
    section: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open(ping_interval=None) as (_, peer):
        for size in range(126):
            payload = bytes(range(255, 255 - size, -1))
            await peer.send(side.frame(PING, payload))
            assert await peer.receive() == Frame(PONG, payload, masked=not side.peer_masks)
        await peer.send(side.close())
