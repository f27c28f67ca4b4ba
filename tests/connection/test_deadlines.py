"""Deadlines that pass at moments at which something else happens too."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from tests.raw import CLOSE, PING, close, raw_client
from trio_ws import CloseCode
from trio_ws._connection.connection import session_of
from trio_ws._wire.events import Close
from trio_ws.testing import FaultyStream


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
