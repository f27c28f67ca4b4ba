"""On a socket, whoever waits for the next message reads it, while the reader stands by."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CONTINUATION, PING, PONG, TEXT, RawPeer, close, frame, raw_client, raw_server
from trio_ws import (
    ConnectionClosedError,
    ConnectionClosedOK,
    WebSocketConnection,
    open_websocket,
    open_websocket_server,
)

#: Seconds after which a reader whose place was left is back at the latest.
BACK = 0.025


async def have_the_reader_stand_by(ws: WebSocketConnection, peer: RawPeer) -> None:
    """It does when it has handed a message to a task that waited for one."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.receive)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(frame(TEXT, b"go on yourself"))


async def test_ping_is_answered_before_long_while_who_receives_is_busy_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(sockets=True, ping_interval=None) as (ws, peer):
        for number in range(40):
            await peer.send(frame(TEXT, b"%d" % number))
            assert await ws.receive() == str(number)
            await peer.send(frame(PING, b"there?"))
            began = trio.current_time()
            answer = await peer.receive()
            assert answer is not None
            assert answer.opcode == PONG
            assert trio.current_time() - began < BACK


async def test_close_is_heard_before_long_while_who_receives_is_busy_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(sockets=True) as (ws, peer):
        await peer.send(frame(TEXT, b"and now I go"))
        assert await ws.receive() == "and now I go"
        await peer.send(close(1000))
        began = trio.current_time()
        await peer.read_to_end()
        assert trio.current_time() - began < BACK
        with pytest.raises(ConnectionClosedOK):
            await ws.send("too late")


async def test_wait_closed_calls_the_reader_back_also_when_the_clock_stands_still(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(sockets=True) as (ws, peer):
        await peer.send(frame(TEXT, b"x"))
        await ws.receive()
        await peer.send(close(1000))
        assert (await ws.wait_closed()).received_code == 1000


@pytest.mark.parametrize("role", ["client", "server"])
async def test_no_message_is_lost_by_waits_that_are_cancelled(
    role: str, autojump_clock: trio.testing.MockClock
) -> None:
    opened = (raw_client if role == "server" else raw_server)(sockets=True, max_queue=3)
    async with opened as (ws, peer), trio.open_nursery() as nursery:

        async def talk() -> None:
            for number in range(300):
                await peer.send(frame(TEXT, b"%d" % number, mask=role == "server"))
                await trio.sleep(0.001 * (number % 4))

        nursery.start_soon(talk)
        received: list[str | bytes] = []
        while len(received) < 300:
            with trio.move_on_after(0.0015):
                while True:
                    received.append(await ws.receive())
        assert received == [str(number) for number in range(300)]


async def test_several_receivers_share_what_comes_and_nobody_waits_for_one_that_is_busy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(sockets=True) as (ws, peer), trio.open_nursery() as nursery:
        received: list[str | bytes] = []

        async def worker() -> None:
            async for message in ws:
                received.append(message)
                await trio.sleep(1)

        for _ in range(10):
            nursery.start_soon(worker)
        await peer.send(*(frame(TEXT, b"%d" % number) for number in range(10)))
        began = trio.current_time()
        await trio.sleep(0.5)
        await peer.send(close())
        assert sorted(map(str, received)) == [str(number) for number in range(10)]
        assert trio.current_time() - began < 0.6


async def test_message_goes_to_whom_the_queue_gives_it_also_when_another_task_reads_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(sockets=True) as (ws, peer), trio.open_nursery() as nursery:
        await have_the_reader_stand_by(ws, peer)
        received: list[tuple[str, str | bytes]] = []

        async def receive(name: str) -> None:
            received.append((name, await ws.receive()))

        nursery.start_soon(receive, "who reads")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(receive, "who waits")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(frame(TEXT, b"one"))
        await trio.testing.wait_all_tasks_blocked()
        assert received == [("who waits", "one")]
        await peer.send(frame(TEXT, b"two"))
        await trio.testing.wait_all_tasks_blocked()
        assert received[1:] == [("who reads", "two")]


@pytest.mark.parametrize("size", [60_000, 70_000, 1_000_000])
async def test_first_message_that_inflates_to_more_than_a_turn_gives_arrives(size: int) -> None:
    """The handler receives before the reader has had its first turn."""

    async def echo(ws):  # type: ignore[no-untyped-def]
        async for message in ws:
            await ws.send(message)

    async with open_websocket_server(echo, "127.0.0.1", 0) as server:
        async with open_websocket(f"ws://127.0.0.1:{server.port}/", close_timeout=1) as ws:
            for _ in range(2):
                await ws.send("a" * size)
                assert await ws.receive() == "a" * size


async def test_who_receives_does_not_read_on_while_another_task_is_slow_with_pieces(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else what waits for that task would grow without bound (law 5)."""
    async with raw_client(sockets=True, max_queue=1, read_limit=1000) as (ws, peer), trio.open_nursery() as nursery:
        await have_the_reader_stand_by(ws, peer)

        async def in_pieces() -> None:
            async with ws.receive_fragments() as pieces:
                await pieces.receive()
                await trio.sleep_forever()

        nursery.start_soon(in_pieces)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(frame(BINARY, b"x", fin=False))
        await trio.testing.wait_all_tasks_blocked()

        async def flood() -> None:
            await peer.send(*(frame(CONTINUATION, b"x", fin=False) for _ in range(9)), frame(CONTINUATION, b"x"))
            with suppress(trio.BrokenResourceError):
                await peer.stream.send_all(frame(BINARY, bytes(1000)) * 2000)

        nursery.start_soon(flood)
        with trio.move_on_after(5):
            async for _ in ws:
                pass
        assert ws.statistics().bytes_received < 10_000
        nursery.cancel_scope.cancel()


async def test_stream_that_ends_under_who_reads_ends_the_wait() -> None:
    async with raw_client(sockets=True) as (ws, peer), trio.open_nursery() as nursery:
        await have_the_reader_stand_by(ws, peer)

        async def receive() -> None:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1006

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await trio.aclose_forcefully(peer.stream)


async def test_silent_peer_is_dropped_in_time_while_a_task_reads(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(sockets=True, ping_interval=7, ping_timeout=5) as (ws, peer):
        await have_the_reader_stand_by(ws, peer)
        began = trio.current_time()
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
        assert trio.current_time() - began == pytest.approx(12, abs=0.05)


async def test_pong_that_nobody_has_read_yet_is_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    """It came in the moment in which the task that had been reading was busy with another message."""
    async with raw_client(sockets=True, ping_interval=7, ping_timeout=5) as (ws, peer):
        await have_the_reader_stand_by(ws, peer)
        with trio.move_on_at(trio.current_time() + 11.995):
            await ws.receive()
        ping = await peer.receive()
        assert ping is not None
        await peer.send(frame(PONG, ping.payload))
        await trio.sleep(1)
        assert ws.close_reason is None


async def test_aclose_ends_the_wait_of_who_reads(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(sockets=True, close_timeout=3) as (ws, peer), trio.open_nursery() as nursery:
        await have_the_reader_stand_by(ws, peer)

        async def receive() -> None:
            with pytest.raises(ConnectionClosedOK):
                await ws.receive()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.aclose)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(close(1000))
        assert (await ws.wait_closed()).received_code == 1000


async def test_sender_that_has_to_wait_calls_the_reader_back(autojump_clock: trio.testing.MockClock) -> None:
    """Two peers that flood each other while they read must not wait for each other (law 3)."""
    async with raw_client(sockets=True, ping_interval=None) as (ws, peer):
        await peer.send(frame(TEXT, b"send me much"))
        await ws.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(2**22))
            await trio.testing.wait_all_tasks_blocked()
            await peer.stream.send_all(frame(BINARY, bytes(2**19)) * 8)
            received = [(await ws.receive()) for _ in range(8)]
            assert received == [bytes(2**19)] * 8
            message = await peer.receive()
            assert message is not None
            assert message.payload == bytes(2**22)


async def test_who_reads_while_a_torn_send_ends_the_connection_hears_that_it_has_ended() -> None:
    for _ in range(20):  # which of the two tasks runs first is left to chance
        async with raw_client(sockets=True, ping_interval=None) as (ws, peer):
            await have_the_reader_stand_by(ws, peer)
            number = peer.stream.socket.fileno()  # type: ignore[attr-defined]
            scope = trio.CancelScope()

            async def receive(ws: WebSocketConnection = ws) -> None:
                with pytest.raises(ConnectionClosedError):
                    while True:
                        await ws.receive()

            async def cut_off(number: int = number, scope: trio.CancelScope = scope) -> None:
                await trio.testing.wait_all_tasks_blocked()
                os.write(number, 2 * frame(TEXT, b"in the same moment"))
                scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()  # from now on it reads
                nursery.start_soon(cut_off)
                with scope:
                    await ws.send(bytes(2**24))
