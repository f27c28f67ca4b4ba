"""Law 3: our own backpressure never looks like death, and a blocked writer never blocks the reader."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.raw import PING, PONG, TEXT, close, frame, raw_client
from trio_ws import WebSocketConnection
from trio_ws.testing import open_connection_pair


async def test_peer_that_floods_a_slow_handler_lives(autojump_clock: trio.testing.MockClock) -> None:
    """For fifty times ping_interval the reader waits for room, so it sees no pong: that is not the peer's fault."""
    async with raw_client(max_queue=1, ping_interval=1, ping_timeout=1) as (ws, peer):
        await peer.send(*(frame(TEXT, b"%d" % number) for number in range(100)), close())
        received = []
        async for message in ws:
            received.append(int(message))
            await trio.sleep(0.5)
        assert received == list(range(100))
        assert ws.close_reason is not None
        assert ws.close_reason.ok


async def test_pong_deadline_begins_anew_when_there_is_room_again(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(max_queue=1, ping_interval=1, ping_timeout=1) as (ws, peer):
        await peer.send(frame(TEXT, b"1"), frame(TEXT, b"2"))
        await trio.sleep(100.5)
        assert ws.close_reason is None
        await ws.receive()
        await ws.receive()
        resumed = trio.current_time()
        await ws.wait_closed()
        assert 1 < trio.current_time() - resumed <= 2


async def test_any_bytes_from_the_peer_are_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    """Not only pongs: this peer never answers a ping, but sends a byte of a frame now and then."""
    async with raw_client(ping_interval=1, ping_timeout=1) as (ws, peer):
        for byte in frame(TEXT, b"slow"):
            await peer.send(bytes([byte]))
            await trio.sleep(0.9)
        assert await ws.receive() == "slow"
        assert ws.close_reason is None


async def test_pings_among_bytes_already_read_are_answered_while_the_queue_is_full(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(max_queue=1, ping_interval=None) as (_, peer):
        await peer.send(frame(TEXT, b"1"), frame(TEXT, b"2"), frame(PING, b"there?"))
        with trio.fail_after(1):
            answer = await peer.receive()
        assert answer is not None
        assert (answer.opcode, answer.payload) == (PONG, b"there?")


async def test_close_among_bytes_already_read_is_answered_while_the_queue_is_full(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(max_queue=1, ping_interval=None) as (ws, peer):
        await peer.send(frame(TEXT, b"1"), frame(TEXT, b"2"), close(1001))
        with trio.fail_after(1):
            assert (await ws.wait_closed()).received_code == 1001
            answer = await peer.receive()
        assert answer is not None
        assert answer.close_code == 1001
        assert [message async for message in ws] == ["1", "2"]


async def test_two_peers_that_flood_each_other_while_reading_do_not_deadlock(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """On streams without any buffer, where a write waits until the peer reads."""
    total = 200

    async def flood(ws: WebSocketConnection) -> None:
        for _ in range(total):
            await ws.send(bytes(10_000))

    async def drain(ws: WebSocketConnection) -> None:
        for _ in range(total):
            await ws.receive()

    async with open_connection_pair(lockstep=True, max_queue=1) as (client, server):
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for ws in (client, server):
                    nursery.start_soon(flood, ws)
                    nursery.start_soon(drain, ws)
        assert client.statistics().messages_received == server.statistics().messages_received == total


async def test_blocked_writer_does_not_block_the_reader(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(lockstep=True, ping_interval=None) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, "nobody reads this")
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            await peer.send(frame(PING, b"?"), frame(TEXT, b"%d" % number))
            assert await ws.receive() == str(number)
        # Several pongs were due in the meantime; the last one stands for all of them (RFC 6455 §5.5.3).
        sent = [await peer.receive(), await peer.receive()]
        assert [frame.opcode for frame in sent if frame] == [TEXT, PONG]
        nursery.start_soon(peer.read_to_end)
        await peer.send(close())


async def test_slow_peer_that_takes_a_little_now_and_then_lives(autojump_clock: trio.testing.MockClock) -> None:
    """It answers no ping, because the pings stand behind the data. That it takes the data is a sign of life."""
    step = 2**14  # what is written at once to a stream that cannot tell how much it has written
    async with raw_client(lockstep=True, ping_interval=1, ping_timeout=1) as (ws, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(10 * step))
            for _ in range(11):
                await trio.sleep(0.9)
                await peer.stream.receive_some(step)
        assert ws.close_reason is None
        with trio.move_on_after(1):
            await peer.read_to_end()


@pytest.mark.parametrize("alive", [True, False])
async def test_deadline_that_our_own_event_loop_missed_is_put_off_for_a_second(
    alive: bool, mock_clock: trio.testing.MockClock
) -> None:
    async def jump(seconds: float) -> None:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()

    async with raw_client(ping_interval=1, ping_timeout=1) as (ws, peer):
        await jump(1)  # a ping goes out, whose pong is due at 2
        await jump(10)  # nobody has looked at anything until now, at 11
        assert ws.close_reason is None
        if alive:
            await peer.send(frame(PONG))
        await jump(1)
        assert (ws.close_reason is None) is alive
        if alive:
            await peer.send(close())


@pytest.mark.parametrize("late", [0.01, 0.06, 0.5])
async def test_late_look_at_a_deadline_that_means_nothing_any_more_drops_nobody(
    late: float, mock_clock: trio.testing.MockClock
) -> None:
    """A write had to wait when the clock came by, and went on long ago; then our event loop stands still."""

    async def jump(seconds: float) -> None:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()

    async with (
        raw_client(lockstep=True, ping_interval=20, ping_timeout=20) as (ws, peer),
        trio.open_nursery() as nursery,
    ):

        async def answer_every_ping() -> None:
            while received := await peer.receive():
                if received.opcode == PING:
                    await peer.send(frame(PONG, received.payload))

        await jump(19.5)
        nursery.start_soon(ws.send, "hello")
        await jump(0.5)  # at 20, the clock comes by
        await jump(0.5)
        nursery.start_soon(answer_every_ping)
        await jump(19.5)  # at 40, a ping is answered
        await jump(19.4)
        await jump(0.1 + late)  # the write would have had to go on by 59.5
        for _ in range(4):
            await jump(0.4)  # nobody has asked the peer anything meanwhile
        assert ws.close_reason is None
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(peer.stream)
