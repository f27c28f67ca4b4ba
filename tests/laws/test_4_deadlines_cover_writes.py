"""Law 4: a peer that stops reading is dropped by keepalive; aclose() returns within close_timeout whatever happens."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.raw import CLOSE, PING, PONG, TEXT, close, frame, raw_client, raw_server
from trio_ws import ConnectionClosedError


async def test_peer_that_stops_reading_is_dropped_after_interval_and_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(lockstep=True, ping_interval=7, ping_timeout=5) as (ws, _):
        began = trio.current_time()
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.send("nobody reads this")
        assert trio.current_time() - began == pytest.approx(12, abs=0.05)
        assert isinstance(caught.value.__cause__, TimeoutError)


async def test_peer_that_sends_but_does_not_read_is_dropped_too(autojump_clock: trio.testing.MockClock) -> None:
    """Its bytes are a sign of life, but of no use to a send that waits."""
    async with raw_client(lockstep=True, ping_interval=7, ping_timeout=5) as (ws, peer), trio.open_nursery() as nursery:

        async def chatter() -> None:
            while True:
                await peer.send(frame(TEXT, b"I am well"))
                await trio.sleep(0.5)

        async def listen() -> None:
            async for _ in ws:
                pass

        nursery.start_soon(chatter)
        began = trio.current_time()
        with pytest.raises(ConnectionClosedError):
            await ws.send("nobody reads this")
        assert trio.current_time() - began == pytest.approx(12, abs=0.05)
        nursery.cancel_scope.cancel()


async def test_peer_that_floods_but_does_not_read_is_dropped_also_when_our_queue_is_full(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(lockstep=True, max_queue=1, ping_interval=7, ping_timeout=5) as (ws, peer):
        await peer.send(*(frame(TEXT, b"more") for _ in range(10)))
        began = trio.current_time()
        with pytest.raises(ConnectionClosedError):
            await ws.send("nobody reads this")
        assert trio.current_time() - began == pytest.approx(12, abs=0.05)
        assert [message async for message in _until_closed(ws)] == ["more"] * 10


async def _until_closed(ws):  # type: ignore[no-untyped-def]
    try:
        async for message in ws:
            yield message
    except ConnectionClosedError:
        pass


async def test_peer_that_floods_but_does_not_read_is_dropped_also_when_that_keeps_our_event_loop_busy(
    mock_clock: trio.testing.MockClock,
) -> None:
    """A deadline that is met late is put off once, not as often as the peer makes us late."""
    async with raw_client(lockstep=True, ping_interval=1, ping_timeout=1) as (ws, peer):
        for _ in range(12):
            if ws.close_reason is None:
                await peer.send(frame(PING, b"are you there?"))
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(0.3)  # what it sent took us so long
            await trio.testing.wait_all_tasks_blocked()
        reason = ws.close_reason
        await trio.aclose_forcefully(peer.stream)
    assert reason is not None


async def test_silent_peer_is_dropped_after_interval_and_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(ping_interval=7, ping_timeout=5) as (ws, peer):
        began = trio.current_time()
        await ws.wait_closed()
        assert trio.current_time() - began == pytest.approx(12, abs=0.05)
        ping, farewell = await peer.receive(), await peer.receive()
        assert ping is not None
        assert farewell is not None
        assert (ping.opcode, farewell.opcode, farewell.close_code) == (PING, CLOSE, 1011)


async def test_peer_that_answers_pings_lives_and_its_latency_is_known(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(ping_interval=7, ping_timeout=5) as (ws, peer):
        assert ws.latency is None
        for _ in range(5):
            ping = await peer.receive()
            assert ping is not None
            await trio.sleep(0.25)
            await peer.send(frame(PONG, ping.payload))
        await trio.sleep(1)
        assert ws.close_reason is None
        assert ws.latency == pytest.approx(0.25)


async def test_without_ping_timeout_pings_go_out_and_nobody_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(ping_interval=7, ping_timeout=None) as (ws, peer):
        for _ in range(20):
            ping = await peer.receive()
            assert ping is not None
            assert ping.opcode == PING
        assert ws.close_reason is None


async def test_pings_do_not_pile_up_behind_a_write_that_waits(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(lockstep=True, ping_interval=7, ping_timeout=None) as (ws, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "nobody reads this")
            await trio.sleep(7000)
            assert ws.statistics().held_bytes < 20
            message, ping = await peer.receive(), await peer.receive()
            assert [received.opcode for received in (message, ping) if received] == [TEXT, PING]
        assert ws.statistics().held_bytes == 0
        with trio.move_on_after(1):
            await peer.read_to_end()


@pytest.mark.parametrize("queued", [0, 100], ids=["nothing-queued", "queue-full"])
@pytest.mark.parametrize("writing", [False, True], ids=["idle", "writing"])
@pytest.mark.parametrize("role", ["client", "server"])
async def test_aclose_returns_within_close_timeout(
    role: str, writing: bool, queued: int, autojump_clock: trio.testing.MockClock
) -> None:
    """The peer does not read, and does not answer."""
    opened = (raw_client if role == "server" else raw_server)(
        lockstep=True, ping_interval=None, close_timeout=3, max_queue=1
    )
    async with opened as (ws, peer), trio.open_nursery() as nursery:
        if queued:
            await peer.send(frame(TEXT, b"unread", mask=role == "server") * queued)
        if writing:

            async def write() -> None:
                with pytest.raises(ConnectionClosedError):
                    await ws.send("nobody reads this")

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await ws.aclose()
        assert trio.current_time() - began == pytest.approx(3, abs=0.05)
        assert ws.close_reason is not None
        assert ws.close_reason.sent_code is None  # the close frame never got out


@pytest.mark.parametrize("role", ["client", "server"])
async def test_peer_that_answers_the_close_but_keeps_the_stream_open(
    role: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A server closes the stream first and need not wait. A client waits for that, but not for ever."""
    opened = (raw_client if role == "server" else raw_server)(close_timeout=3)
    async with opened as (ws, peer):
        await peer.send(close(mask=role == "server"))
        began = trio.current_time()
        await ws.aclose()
        assert trio.current_time() - began == pytest.approx(0 if role == "server" else 3, abs=0.05)
        assert ws.close_reason is not None
        assert ws.close_reason.ok


async def test_peer_that_goes_on_sending_instead_of_answering_the_close(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(close_timeout=3, max_queue=1) as (ws, peer), trio.open_nursery() as nursery:

        async def chatter() -> None:
            while True:
                await peer.send(frame(TEXT, b"and another thing"))
                await trio.sleep(0.1)

        nursery.start_soon(chatter)
        began = trio.current_time()
        await ws.aclose()
        assert trio.current_time() - began == pytest.approx(3, abs=0.05)
        nursery.cancel_scope.cancel()


async def test_without_timeouts_the_user_waits_as_long_as_it_takes(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(ping_interval=None, close_timeout=None) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose)
        await trio.sleep(50_000)
        assert ws.close_reason is None
        await peer.send(close())
        assert (await ws.wait_closed()).ok


@pytest.mark.parametrize(("interval", "timeout"), [(20, 20), (20, 5), (60, 5), (20, 19), (20, 21), (5, 60)])
@pytest.mark.parametrize("after", [0.1, 3])
async def test_write_that_begins_between_two_pings_has_its_own_deadline(
    interval: float, timeout: float, after: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_client(lockstep=True, ping_interval=interval, ping_timeout=timeout) as (ws, peer):
        ping = await peer.receive()
        assert ping is not None
        await peer.send(frame(PONG, ping.payload))
        await trio.sleep(after)
        began = trio.current_time()
        with pytest.raises(ConnectionClosedError):
            await ws.send("nobody reads this")
        assert trio.current_time() - began == pytest.approx(interval + timeout, abs=0.1)
