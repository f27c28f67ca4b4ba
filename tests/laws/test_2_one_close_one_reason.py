"""Law 2: a connection closes once, for one reason, and everyone waiting hears it; nothing waits for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CLOSE, TEXT, RawPeer, close, frame, raw_client, raw_server
from trio_ws import (
    CloseReason,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    RemoteProtocolError,
    WebSocketConnection,
)
from trio_ws.testing import FaultyStream, open_connection_pair

Ending = Callable[[WebSocketConnection, RawPeer], Awaitable[Any]]


async def peer_closes(ws: WebSocketConnection, peer: RawPeer) -> None:
    await peer.send(close(1000, b"bye"))


async def peer_closes_without_a_code(ws: WebSocketConnection, peer: RawPeer) -> None:
    await peer.send(close(None))


async def peer_fails(ws: WebSocketConnection, peer: RawPeer) -> None:
    await peer.send(close(1011))


async def peer_vanishes(ws: WebSocketConnection, peer: RawPeer) -> None:
    await peer.stream.aclose()


async def peer_breaks_the_protocol(ws: WebSocketConnection, peer: RawPeer) -> None:
    await peer.send(frame(0x3, b"reserved opcode"))


async def peer_sends_too_much(ws: WebSocketConnection, peer: RawPeer) -> None:
    await peer.send(frame(BINARY, bytes(1001)))


async def peer_sends_invalid_text(ws: WebSocketConnection, peer: RawPeer) -> None:
    await peer.send(frame(TEXT, b"\xff"))


async def peer_falls_silent(ws: WebSocketConnection, peer: RawPeer) -> None:
    """The keepalive finds out."""


async def we_close(ws: WebSocketConnection, peer: RawPeer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 4000, "enough")
        while (received := await peer.receive()) is not None and received.opcode != CLOSE:
            pass
        await peer.send(close(4000))


async def we_close_and_nobody_answers(ws: WebSocketConnection, peer: RawPeer) -> None:
    await ws.aclose()


ENDINGS = [
    pytest.param(
        peer_closes,
        CloseReason(sent_code=1000, received_code=1000, received_reason="bye", closed_by="remote"),
        ConnectionClosedOK,
        id="peer-closes",
    ),
    pytest.param(
        peer_closes_without_a_code,
        CloseReason(sent_code=1005, received_code=1005, closed_by="remote"),
        ConnectionClosedOK,
        id="peer-closes-without-a-code",
    ),
    pytest.param(
        peer_fails,
        CloseReason(sent_code=1011, received_code=1011, closed_by="remote"),
        ConnectionClosedError,
        id="peer-fails",
    ),
    pytest.param(peer_vanishes, CloseReason(), ConnectionClosedError, id="peer-vanishes"),
    pytest.param(
        peer_breaks_the_protocol,
        CloseReason(sent_code=1002, sent_reason="Invalid opcode 0x3", closed_by="local"),
        ConnectionClosedError,
        id="peer-breaks-the-protocol",
    ),
    pytest.param(
        peer_sends_too_much,
        CloseReason(sent_code=1009, sent_reason="message over the limit of 1000 bytes", closed_by="local"),
        ConnectionClosedError,
        id="peer-sends-too-much",
    ),
    pytest.param(
        peer_sends_invalid_text,
        CloseReason(
            sent_code=1007,
            sent_reason="'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
            closed_by="local",
        ),
        ConnectionClosedError,
        id="peer-sends-invalid-text",
    ),
    pytest.param(
        peer_falls_silent,
        CloseReason(sent_code=1011, sent_reason="keepalive timeout", closed_by="local"),
        ConnectionClosedError,
        id="peer-falls-silent",
    ),
    pytest.param(
        we_close,
        CloseReason(sent_code=4000, sent_reason="enough", received_code=4000, closed_by="local"),
        ConnectionClosedError,
        id="we-close",
    ),
    pytest.param(
        we_close_and_nobody_answers,
        CloseReason(sent_code=1000, closed_by="local"),
        ConnectionClosedOK,
        id="we-close-and-nobody-answers",
    ),
]


@asynccontextmanager
async def either_role(role: str, **options: Any) -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    async with (raw_client if role == "server" else raw_server)(**options) as pair:
        yield pair


@pytest.mark.parametrize(("end", "reason", "error"), ENDINGS)
async def test_everyone_waiting_hears_the_same_reason(
    end: Ending, reason: CloseReason, error: type[ConnectionClosed], autojump_clock: trio.testing.MockClock
) -> None:
    heard: dict[str, ConnectionClosed] = {}

    async def expect_the_end(name: str, wait: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ConnectionClosed) as caught:
            await wait()
        heard[name] = caught.value

    async def send_for_ever(ws: WebSocketConnection) -> None:
        while True:
            await ws.send("still there")
            await trio.sleep(1)

    async def receive_in_pieces(ws: WebSocketConnection) -> None:
        async with ws.receive_fragments():
            pass

    async with raw_client(max_size=1000) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(expect_the_end, "receive", ws.receive)
        nursery.start_soon(expect_the_end, "receive again", ws.receive)
        nursery.start_soon(expect_the_end, "receive_fragments", lambda: receive_in_pieces(ws))
        nursery.start_soon(expect_the_end, "ping", ws.ping)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(60):
            nursery.start_soon(end, ws, peer)
            assert await ws.wait_closed() == reason
            await expect_the_end("send", lambda: send_for_ever(ws))
            await ws.aclose()
            await ws.aclose(4999, "too late to matter")
    assert set(heard) == {"receive", "receive again", "receive_fragments", "ping", "send"}
    for name, caught in heard.items():
        assert type(caught) is error, name
        assert caught.reason is ws.close_reason, name
    assert ws.close_reason == reason


@pytest.mark.parametrize("role", ["client", "server"])
async def test_text_that_cannot_become_utf8_fails_before_its_frame_is_complete(
    role: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with either_role(role) as (ws, peer):
        await peer.send(frame(TEXT, b"\xc0" + bytes(100), mask=role == "server")[:20])
        assert (await ws.wait_closed()).code == 1007


@pytest.mark.parametrize("role", ["client", "server"])
async def test_protocol_error_is_the_cause_and_the_peer_is_not_heard_any_longer(
    role: str, autojump_clock: trio.testing.MockClock
) -> None:
    masked = role == "server"
    async with either_role(role) as (ws, peer):
        await peer.send(
            frame(TEXT, b"before", mask=masked), frame(0x4, mask=masked), frame(TEXT, b"behind", mask=masked)
        )
        assert await ws.receive() == "before"
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert isinstance(caught.value.__cause__, RemoteProtocolError)
        received = await peer.receive()
        assert received is not None
        assert (received.opcode, received.close_code) == (CLOSE, 1002)
        assert await peer.receive() is None


@pytest.mark.parametrize("role", ["client", "server"])
async def test_what_came_before_the_close_is_received_first(role: str, autojump_clock: trio.testing.MockClock) -> None:
    masked = role == "server"
    async with either_role(role, max_queue=2) as (ws, peer):
        texts = [f"message {number}" for number in range(10)]
        await peer.send(*(frame(TEXT, text.encode(), mask=masked) for text in texts), close(1000, mask=masked))
        await ws.wait_closed()
        assert [message async for message in ws] == texts


@pytest.mark.parametrize("role", ["client", "server"])
async def test_stream_that_ends_at_any_byte_of_a_frame_is_an_abnormal_end(
    role: str, autojump_clock: trio.testing.MockClock
) -> None:
    for whole in (frame(TEXT, b"hello", mask=role == "server"), frame(BINARY, bytes(200), mask=role == "server")):
        for end in range(len(whole)):
            async with either_role(role) as (ws, peer):
                await peer.send(whole[:end])
                await peer.stream.aclose()
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.receive()
                assert caught.value.reason.code == 1006


async def test_receive_hears_the_end_when_everybody_does(autojump_clock: trio.testing.MockClock) -> None:
    """Not only when the stream is closed as well, which this server puts off."""
    async with raw_server(max_queue=2, close_timeout=5) as (ws, peer):
        await peer.send(*(frame(TEXT, b"x", mask=False) for _ in range(10)), close(mask=False))
        assert [message async for message in ws] == ["x"] * 10
        assert trio.current_time() == 0


async def test_consumer_of_pieces_hears_the_end_also_when_its_message_is_complete_but_waits_for_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(max_queue=1, close_timeout=1) as (ws, peer), trio.open_nursery() as nursery:
        await peer.send(frame(TEXT, b"a", fin=False))
        async with ws.receive_fragments() as pieces:
            await peer.send(frame(0, b"b", fin=False), frame(0, b"c", fin=False), frame(0, b"d"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ws.aclose)
            await trio.testing.wait_all_tasks_blocked()
            received = []
            with pytest.raises(ConnectionClosedError), trio.fail_after(5):
                while True:
                    received.append(await pieces.receive())
            assert received == ["a"]


@pytest.mark.parametrize("pushing", [False, True])
async def test_what_the_peer_said_before_it_went_is_received_also_when_our_write_fails(
    pushing: bool, autojump_clock: trio.testing.MockClock
) -> None:
    # Our end's calls are: read the request, write the answer, read, write.
    streams: list[FaultyStream] = []

    def wrap(stream: trio.abc.Stream) -> FaultyStream:
        def fail_to_send(name: str) -> None:
            if name == "send_all" and streams[0].calls > 2:
                raise trio.BrokenResourceError("gone")

        streams.append(FaultyStream(stream, on_call=fail_to_send))
        return streams[0]

    async with raw_client(wrap=wrap, max_queue=2, ping_interval=None) as (ws, peer):
        if pushing:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.send("tick")
            assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        await peer.send(*(frame(TEXT, b"%d" % number) for number in range(20)), close(1000))
        assert [int(message) async for message in ws] == list(range(20))
        reason = await ws.wait_closed()
        assert (reason.received_code, reason.sent_code is None) == (1000, pushing)


async def test_both_close_at_the_same_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, 4001, "client")
            nursery.start_soon(server.aclose, 4002, "server")
        for ws, ours, theirs in [(client, 4001, 4002), (server, 4002, 4001)]:
            assert ws.close_reason is not None
            assert (ws.close_reason.sent_code, ws.close_reason.received_code) == (ours, theirs)
            assert ws.close_reason.closed_by == "local"


async def test_peer_that_breaks_the_protocol_instead_of_answering_our_close(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 1001)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(frame(0x3))
        assert await ws.wait_closed() == CloseReason(sent_code=1001, closed_by="local")


async def test_client_forgets_what_comes_behind_the_close_while_it_waits_for_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_server() as (ws, peer):
        await peer.send(close(1000, mask=False))
        await ws.wait_closed()
        await peer.send(b"anything", b"at all")
        await trio.testing.wait_all_tasks_blocked()
        await peer.stream.aclose()
        with trio.fail_after(1):
            await ws.aclose()


async def test_one_close_frame_is_sent_however_often_we_close(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer):
        async with trio.open_nursery() as nursery:
            for code in (1000, 4000, 1011):
                nursery.start_soon(ws.aclose, code)
        data = await peer.read_to_end()
        assert len(data) == 4
        assert data[0] == 0x88


async def test_aclose_keeps_what_is_in_the_queue_and_drops_the_rest(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(max_queue=2) as (ws, peer):
        await peer.send(*(frame(TEXT, bytes([65 + number])) for number in range(10)))
        await trio.testing.wait_all_tasks_blocked()
        await ws.aclose()
        assert [message async for message in ws] == ["A", "B"]


async def test_message_cut_short_by_a_clean_close_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer):
        await peer.send(frame(TEXT, b"half a mess", fin=False))
        async with ws.receive_fragments() as pieces:
            await peer.send(close(1000))
            assert await pieces.receive() == "half a mess"
            with pytest.raises(ConnectionClosedError):
                await pieces.receive()
        with pytest.raises(ConnectionClosedOK):
            await ws.receive()


async def test_stream_that_breaks_after_a_clean_close_is_no_cause(autojump_clock: trio.testing.MockClock) -> None:
    class BreaksAtTheEnd(FaultyStream):
        async def aclose(self) -> None:
            await super().aclose()
            raise trio.BrokenResourceError("reset by peer")

    async with raw_client(wrap=BreaksAtTheEnd) as (ws, peer):
        await peer.send(close(1000))
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.receive()
        await ws.aclose()
        with pytest.raises(ConnectionClosedOK) as later:
            await ws.receive()
        assert caught.value.__cause__ is later.value.__cause__ is None
