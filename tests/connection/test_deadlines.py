"""Deadlines that pass at moments at which something else happens too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import CLOSE, PING, RawPeer, close, raw_client
from trio_ws import CloseCode, ConnectionClosed, WebSocketConnection
from trio_ws._connection.connection import session_of
from trio_ws._wire.events import Close
from trio_ws.testing import FaultyStream


class WritesFailLater(FaultyStream):
    """Takes nothing more when it is told to, and later breaks for those who write; one can still read."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self.full = False
        self.broken = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.full:
            await self.broken.wait()
            raise trio.BrokenResourceError("nothing can be written any more")
        await super().send_all(data)


@asynccontextmanager
async def blocked(**options: Any) -> AsyncIterator[tuple[WebSocketConnection, RawPeer, WritesFailLater]]:
    """A connection on which a send is waiting for ever."""
    ours: list[WritesFailLater] = []

    def wrap(stream: trio.abc.Stream) -> trio.abc.Stream:
        ours.append(WritesFailLater(stream))
        return ours[0]

    async def send(ws: WebSocketConnection) -> None:
        with pytest.raises(ConnectionClosed):
            await ws.send("nobody takes this")

    async with raw_client(wrap=wrap, ping_interval=None, **options) as (ws, peer), trio.open_nursery() as nursery:
        ours[0].full = True
        nursery.start_soon(send, ws)
        await trio.testing.wait_all_tasks_blocked()
        yield ws, peer, ours[0]


async def test_write_that_fails_later_does_not_put_off_the_close_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with blocked(close_timeout=10) as (ws, _, stream), trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(ws.aclose)
        await trio.sleep(9)
        stream.broken.set()
        await ws.wait_closed()
        assert trio.current_time() - began == pytest.approx(10, abs=0.05)


async def test_close_frame_that_never_got_out_leaves_the_closing_to_the_peer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with blocked(close_timeout=10) as (ws, peer, stream), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose)
        await trio.testing.wait_all_tasks_blocked()
        stream.broken.set()
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(close(1000, b"bye"))
        reason = await ws.wait_closed()
        assert (reason.closed_by, reason.code, reason.sent_code, reason.ok) == ("remote", 1000, None, True)


class ToldWhenStopped(FaultyStream):
    """Calls a function when a read is stopped, before anybody else hears of it."""

    on_stopped: Callable[[], None] = staticmethod(lambda: None)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            return await super().receive_some(max_bytes)
        except trio.Cancelled:
            self.on_stopped()
            raise


async def test_goodbye_said_as_the_pong_deadline_passes_is_still_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours: list[ToldWhenStopped] = []

    def wrap(stream: trio.abc.Stream) -> trio.abc.Stream:
        ours.append(ToldWhenStopped(stream))
        return ours[0]

    async with raw_client(wrap=wrap, ping_interval=1, ping_timeout=1, close_timeout=5) as (ws, peer):
        session = session_of(ws)
        ours[0].on_stopped = lambda: session.say_goodbye(Close(CloseCode.GOING_AWAY))  # type: ignore[method-assign]
        began = trio.current_time()
        received = [await peer.receive(), await peer.receive()]
        assert [frame and frame.opcode for frame in received] == [PING, CLOSE]
        assert trio.current_time() - began == 2
        await peer.send(close(1001))
        reason = await ws.wait_closed()
        assert (reason.sent_code, reason.received_code, reason.closed_by) == (1001, 1001, "local")


async def test_everybody_who_waits_for_the_end_hears_of_it(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer), trio.open_nursery() as nursery:
        reasons = []

        async def wait() -> None:
            reasons.append(await ws.wait_closed())

        for _ in range(3):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(close(1000))
        await trio.testing.wait_all_tasks_blocked()
        assert reasons == [ws.close_reason] * 3
