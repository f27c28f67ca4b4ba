"""Law 7: cancel means now, shutdown means politely, and both say 1001."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import CLOSE, REQUEST, TEXT, MemoryListener, RawPeer, close, frame, raw_client, raw_server
from trio_ws import (
    ConnectionClosedOK,
    LocalProtocolError,
    WebSocketConnection,
    WebSocketServer,
    open_websocket_server,
    serve_websocket,
)


class Record:
    """A handler that writes down what it receives and how it ended."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.ended: list[str] = []

    async def __call__(self, ws: WebSocketConnection) -> None:
        try:
            async for message in ws:
                self.messages.append(message)
            self.ended.append("end of messages")
        except trio.Cancelled:
            self.ended.append("cancelled")
            raise


async def sleep_forever(ws: WebSocketConnection) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def running(handler: Any, **options: Any) -> AsyncIterator[tuple[WebSocketServer, RawPeer, MemoryListener]]:
    listener = MemoryListener()
    async with open_websocket_server(handler, listeners=[listener], **options) as server:
        peer = RawPeer(listener.connect())
        await peer.open_as_client()
        yield server, peer, listener


async def close_code(peer: RawPeer) -> int | None:
    while (received := await peer.receive()) is not None:
        if received.opcode == CLOSE:
            return received.close_code
    return None


@pytest.mark.parametrize("how", ["shutdown", "aclose", "leave", "leave-by-exception"])
async def test_polite_ends_say_1001_and_deliver_what_the_client_sent_before_it_knew(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    record = Record()
    async with trio.open_nursery() as nursery:

        async def answer(peer: RawPeer) -> None:
            assert await close_code(peer) == 1001
            await trio.sleep(2)
            await peer.send(frame(TEXT, b"sent before I knew"), close(1001))

        try:
            async with running(record) as (server, peer, _):
                nursery.start_soon(answer, peer)
                if how == "shutdown":
                    server.shutdown()
                    await server.wait_closed()
                elif how == "aclose":
                    await server.aclose()
                elif how == "leave-by-exception":
                    raise KeyError("the user's own")
        except KeyError:
            assert how == "leave-by-exception"
    assert record.messages == ["sent before I knew"]
    assert record.ended == ["end of messages"]
    assert trio.current_time() == pytest.approx(2, abs=0.05)
    assert server.statistics().open_connections == 0


async def test_shutdown_takes_a_code_and_a_reason_and_happens_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Record()) as (server, peer, _):
        with pytest.raises(LocalProtocolError):
            server.shutdown(1006)
        server.shutdown(1012, "new version")
        server.shutdown(1001, "ignored")
        received = await peer.receive()
        assert received is not None
        assert (received.close_code, received.payload[2:]) == (1012, b"new version")
        await peer.send(close(1012))


async def test_send_after_shutdown_is_an_end_on_purpose(autojump_clock: trio.testing.MockClock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        await ws.receive()
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.send("an answer")
        assert caught.value.reason.sent_code == 1001

    async with running(handler, handler_errors="raise") as (server, peer, _):
        server.shutdown()
        await peer.send(frame(TEXT, b"a question"), close(1001))


async def test_handler_that_does_not_end_is_cancelled_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with running(sleep_forever, shutdown_timeout=5) as (server, peer, _):
        await server.aclose()
        assert trio.current_time() == pytest.approx(5, abs=0.05)
        assert await close_code(peer) == 1001


async def test_peer_that_does_not_read_holds_up_nobody_beyond_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def flood(ws: WebSocketConnection) -> None:
        while True:
            await ws.send(bytes(100_000))

    listener = MemoryListener()
    async with open_websocket_server(flood, listeners=[listener], shutdown_timeout=5) as server:
        ours, theirs = trio.testing.lockstep_stream_pair()
        listener.connect_with(theirs)
        peer = RawPeer(ours)
        await peer.open_as_client()
        await server.aclose()
        assert trio.current_time() == pytest.approx(5, abs=0.05)


async def test_shutdown_stops_accepting_and_answers_handshakes_in_progress_with_503(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow_hook(request: object) -> None:
        await trio.sleep(1)

    listener = MemoryListener()
    async with open_websocket_server(Record(), listeners=[listener], process_request=slow_hook) as server:
        in_head, in_hook = RawPeer(listener.connect()), RawPeer(listener.connect())
        await in_head.send(REQUEST[:20])
        await in_hook.send(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().handshakes_in_progress == 2
        server.shutdown()
        for peer in (in_head, in_hook):
            answer = await peer.read_to_end()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: " in answer
            await peer.stream.aclose()
        with pytest.raises(trio.ClosedResourceError):  # the listener is closed
            listener.connect()


async def test_cancelled_server_does_not_wait_but_says_1001(autojump_clock: trio.testing.MockClock) -> None:
    record = Record()
    with trio.move_on_after(1) as scope:
        async with running(record) as (_, peer, _):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(1, abs=0.05)
    assert record.ended == ["cancelled"]
    assert await close_code(peer) == 1001


async def test_cancelled_serve_websocket_says_1001(autojump_clock: trio.testing.MockClock) -> None:
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_websocket(
                Record(), listeners=[listener], shutdown_signals=(), task_status=task_status
            )
        )
        peer = RawPeer(listener.connect())
        await peer.open_as_client()
        assert len(server.connections) == 1
        nursery.cancel_scope.cancel()
    assert await close_code(peer) == 1001


async def test_cancel_during_shutdown_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running(sleep_forever) as (server, peer, _):
        with trio.move_on_after(1):
            await server.aclose()
        with trio.fail_after(1):
            await server.wait_closed()
        assert await close_code(peer) == 1001


@pytest.mark.parametrize("role", ["client", "server"])
async def test_cancelled_connection_does_not_wait_but_says_1001(
    role: str, autojump_clock: trio.testing.MockClock
) -> None:
    opened = (raw_client if role == "server" else raw_server)()
    with trio.move_on_after(1):
        async with opened as (ws, peer):
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(1, abs=0.05)
    assert await close_code(peer) == 1001
    assert ws.close_reason is not None
    assert (ws.close_reason.sent_code, ws.close_reason.closed_by) == (1001, "local")


async def test_cancelled_connection_says_nothing_in_the_middle_of_a_frame(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with trio.move_on_after(1):
        async with raw_client(lockstep=True) as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "nobody reads this")
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(1, abs=0.05)
    assert ws.close_reason is not None
    assert ws.close_reason.sent_code is None
    assert CLOSE not in [received.opcode for received in [await peer.receive()] if received]


@pytest.mark.parametrize(
    ("error", "code"), [(None, 1000), (KeyError, 1011), (KeyboardInterrupt, 1001)], ids=["none", "exception", "ctrl-c"]
)
@pytest.mark.parametrize("role", ["client", "server"])
async def test_leaving_the_block_closes_with_a_code_that_fits(
    role: str, error: type[BaseException] | None, code: int, autojump_clock: trio.testing.MockClock
) -> None:
    opened = (raw_client if role == "server" else raw_server)(close_timeout=3)
    with nullcontext() if error is None else pytest.raises(error):
        async with opened as (_, peer):
            if error is not None:
                raise error
    assert trio.current_time() == pytest.approx(0 if error is KeyboardInterrupt else 3, abs=0.05)
    assert await close_code(peer) == code


async def test_serve_websocket_off_the_main_thread_says_to_pass_no_signals() -> None:
    def in_a_thread() -> None:
        trio.run(serve_websocket, Record(), "127.0.0.1", 0)

    with pytest.raises(RuntimeError, match=r"shutdown_signals=\(\)"):
        await trio.to_thread.run_sync(in_a_thread)


@pytest.mark.parametrize("role", ["client", "server"])
async def test_cancelled_aclose_has_said_what_the_reason_says_it_did(
    role: str, autojump_clock: trio.testing.MockClock
) -> None:
    opened = (raw_client if role == "server" else raw_server)()
    async with opened as (ws, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.aclose(4000)
        assert (await ws.wait_closed()).sent_code == 4000
        assert await close_code(peer) == 4000
