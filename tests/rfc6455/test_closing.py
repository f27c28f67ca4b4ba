"""RFC 6455, closing (§5.5.1, §7). The ids are section numbers."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frames, torn
from tests.sides import CLIENT, EITHER_SIDE, SERVER, Side
from trio_ws import ConnectionClosed, LocalProtocolError

# Codes, §7.4

#: §7.4.1 and the IANA registry it founds, in which 1012 to 1014 were added; 1004 has no meaning yet, and 1005, 1006 and
#: 1015 are never in a frame.
REGISTERED = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
#: §7.4.2: registered by libraries, and private.
MAY_BE_SENT = REGISTERED | set(range(3000, 5000))


@EITHER_SIDE
@pytest.mark.parametrize(
    "codes",
    [
        pytest.param(range(1000, 3000), id="7.4.2-registered"),
        pytest.param(range(3000, 4000), id="7.4.2-of-libraries"),
        pytest.param(range(4000, 5000), id="7.4.2-private"),
        pytest.param([0, 1, 125, 255, 256, 998, 999], id="7.4.2-unused"),
        pytest.param([5000, 5001, 9999, 32767, 32768, 65534, 65535], id="7.4.2-beyond"),
    ],
)
async def test_code_that_may_be_sent_is_echoed_and_any_other_is_1002(
    codes: range | list[int], side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    for code in codes:
        async with side.open() as (ws, peer):
            await peer.send(side.close(code, b"why"))
            answer = await peer.receive()
            assert answer is not None
            assert answer.opcode == CLOSE
            assert answer.close_code == (code if code in MAY_BE_SENT else 1002), code
            await peer.stream.aclose()
            reason = await ws.wait_closed()
            if code in MAY_BE_SENT:
                assert (reason.received_code, reason.received_reason) == (code, "why")
            else:
                assert (reason.received_code, reason.closed_by) == (None, "local")


@EITHER_SIDE
@pytest.mark.parametrize("section", [pytest.param("7.4", id="7.4-any-number-of-16-bits")])
async def test_code_that_may_not_be_sent_is_refused_and_nothing_is_sent(
    section: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open() as (ws, peer):
        for code in range(-1, 2**16 + 1):
            if code not in MAY_BE_SENT:
                with pytest.raises(LocalProtocolError):
                    await ws.aclose(code)
        assert ws.close_reason is None
        await peer.send(side.close(1001))
        await ws.wait_closed()
        for code in MAY_BE_SENT:
            await ws.aclose(code)
        assert [frame.close_code for frame in frames(await peer.read_to_end())] == [1001]


@EITHER_SIDE
@pytest.mark.parametrize("code", [pytest.param(code, id=f"7.4-{code}") for code in sorted(REGISTERED | {3000, 4999})])
async def test_code_that_may_be_sent_is_sent(code: int, side: Side, autojump_clock: trio.testing.MockClock) -> None:
    async with side.open() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, code, "why")
        received = await peer.receive()
        assert received is not None
        assert (received.opcode, received.close_code, received.payload[2:]) == (CLOSE, code, b"why")
        await peer.send(side.close(code))
        await peer.stream.aclose()


@EITHER_SIDE
@pytest.mark.parametrize("section", [pytest.param("7.1.5", id="7.1.5-no-code")])
async def test_close_without_a_code_is_1005_and_answered_without_one(
    section: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open() as (ws, peer):
        await peer.send(side.close(None))
        answer = await peer.receive()
        assert answer is not None
        assert (answer.opcode, answer.payload) == (CLOSE, b"")
        await peer.stream.aclose()
        assert (await ws.wait_closed()).received_code == 1005


# Nothing behind a close frame, §5.5.1


@EITHER_SIDE
@pytest.mark.parametrize(
    ("opcode", "payload"),
    [
        pytest.param(TEXT, b"data", id="5.5.1-text"),
        pytest.param(BINARY, b"data" * 50_000, id="5.5.1-long"),
        pytest.param(CONTINUATION, b"data", id="5.5.1-rest-of-a-message"),
        pytest.param(PING, b"ping", id="5.5.1-ping"),
        pytest.param(CLOSE, b"\x0f\xa0", id="5.5.1-second-close"),
        pytest.param(0x3, b"nonsense", id="5.5.1-nonsense"),
    ],
)
async def test_what_comes_behind_the_peers_close_is_not_heard(
    opcode: int, payload: bytes, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open() as (ws, peer):
        await peer.send(side.frame(TEXT, b"not all", fin=False), side.close(1001), side.frame(opcode, payload))
        assert [message async for message in ws] == []
        assert (await ws.wait_closed()).received_code == 1001
        await peer.send_eof()
        assert [frame.close_code for frame in frames(await peer.read_to_end())] == [1001]


@EITHER_SIDE
@pytest.mark.parametrize(
    "first", [pytest.param("peer", id="5.5.1-peer-closes-first"), pytest.param("we", id="5.5.1-we-close-first")]
)
async def test_we_send_nothing_behind_our_close(first: str, side: Side, autojump_clock: trio.testing.MockClock) -> None:
    """However many tasks are sending, messages in fragments among them, and whatever the peer still asks for."""

    async def messages(number: int) -> None:
        with suppress(ConnectionClosed):
            while True:
                await ws.send(f"{number}" * 1000)

    async def fragments() -> None:
        with suppress(ConnectionClosed):
            while True:
                await ws.send_fragments(["one", "two", "three"])

    async def pings() -> None:
        with suppress(ConnectionClosed):
            while True:
                await ws.ping()

    received = bytearray()

    async def collect() -> None:
        received.extend(await peer.read_to_end())

    async with side.open(ping_interval=None) as (ws, peer), trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(messages, number)
        nursery.start_soon(fragments)
        nursery.start_soon(pings)
        nursery.start_soon(collect)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        if first == "we":
            nursery.start_soon(ws.aclose, 4000)
        await peer.send(side.frame(TEXT, b"never to be finished", fin=False), side.frame(PING, b"ping"))
        await peer.send(side.close(4000), side.frame(PING, b"pong?"))
        await ws.wait_closed()
        await peer.send_eof()
    sent = list(frames(bytes(received)))
    assert not torn(bytes(received))
    assert len(sent) > 10
    assert [index for index, frame in enumerate(sent) if frame.opcode == CLOSE] == [len(sent) - 1]
    assert sent[-1].close_code == 4000


@EITHER_SIDE
@pytest.mark.parametrize("section", [pytest.param("5.5.1", id="5.5.1-messages-until-the-answer")])
async def test_messages_that_the_peer_sent_before_it_heard_of_our_close_are_received(
    section: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    """A message begun before, and finished after, our close frame, and a ping, which gets no pong any more."""
    async with side.open() as (ws, peer), trio.open_nursery() as nursery:
        await peer.send(side.frame(TEXT, b"be", fin=False))
        nursery.start_soon(ws.aclose)
        closing = await peer.receive()
        assert closing is not None
        assert closing.opcode == CLOSE
        await peer.send(side.frame(PING), side.frame(CONTINUATION, b"gun"), side.frame(PONG), side.close())
        assert (await ws.wait_closed()).received_code == 1000
        await peer.send_eof()
        assert await peer.read_to_end() == b""


# The end of the TCP connection, §7.1.1


@pytest.mark.parametrize(
    "first", [pytest.param("peer", id="7.1.1-peer-closes-first"), pytest.param("we", id="7.1.1-we-close-first")]
)
async def test_server_ends_the_stream_at_once(first: str, autojump_clock: trio.testing.MockClock) -> None:
    async with SERVER.open() as (ws, peer), trio.open_nursery() as nursery:
        if first == "we":
            nursery.start_soon(ws.aclose)
            assert await peer.receive() is not None
        began = trio.current_time()
        await peer.send(SERVER.close())
        assert len(list(frames(await peer.read_to_end()))) == (first == "peer")
        assert trio.current_time() == began


@pytest.mark.parametrize(
    "first", [pytest.param("peer", id="7.1.1-peer-closes-first"), pytest.param("we", id="7.1.1-we-close-first")]
)
async def test_client_waits_for_the_server_to_end_the_stream(
    first: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with CLIENT.open(close_timeout=30) as (ws, peer), trio.open_nursery() as nursery:
        if first == "we":
            nursery.start_soon(ws.aclose)
            assert await peer.receive() is not None
            await peer.send(CLIENT.close())
        else:
            await peer.send(CLIENT.close())
            assert await peer.receive() is not None
        with trio.move_on_after(29) as waited:
            await peer.receive()
        assert waited.cancelled_caught
        assert ws.close_reason is not None
        await peer.stream.aclose()
        began = trio.current_time()
        await ws.aclose()
        assert trio.current_time() == began
