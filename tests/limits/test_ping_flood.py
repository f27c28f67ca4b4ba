"""Pings without end: pongs do not pile up, others are served meanwhile, and who reads no pongs is dropped."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.limits.measure import KIB, MIB, heap
from tests.limits.served import flood, receive_frame, serving
from tests.raw import PING, PONG, REQUEST, TEXT, MemoryListener, RawPeer, frame, raw_client
from trio_ws import WebSocketConnection, open_websocket_server


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def test_of_the_pongs_that_wait_only_the_latest_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    """RFC 6455 §5.5.3: an endpoint "MAY elect to send a Pong frame for only the most recently processed Ping"."""
    async with raw_client(lockstep=True) as (ws, peer):
        for number in range(1000):
            await peer.send(frame(PING, b"%d" % number))
        assert ws.statistics().held_bytes <= 125 + 2
        first, last = await peer.receive(), await peer.receive()
        assert [received.payload for received in (first, last) if received] == [b"0", b"999"]
        await peer.send(frame(PING, b"and on"))
        then = await peer.receive()
        assert then is not None
        assert (then.opcode, then.payload) == (PONG, b"and on")


async def test_memory_is_flat_under_a_flood_of_pings(autojump_clock: trio.testing.MockClock) -> None:
    pings = frame(PING, bytes(125)) * 500  # about one read
    async with raw_client(lockstep=True, ping_interval=None) as (_, peer):
        with heap() as measured:
            await peer.send(pings)
            await trio.testing.wait_all_tasks_blocked()
            once = measured.now()
            for _ in range(30):
                await peer.send(pings)
                await trio.testing.wait_all_tasks_blocked()
            assert measured.now() - once <= 4 * KIB


async def test_peer_that_floods_pings_and_reads_no_pongs_is_dropped_after_interval_and_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(lockstep=True, ping_interval=7, ping_timeout=5) as (ws, peer), trio.open_nursery() as nursery:

        async def attack() -> None:
            while True:
                await peer.send(frame(PING, b"are you there?"))
                await trio.sleep(0.1)

        nursery.start_soon(attack)
        began = trio.current_time()
        with trio.fail_after(60):
            await ws.wait_closed()
        assert trio.current_time() - began == pytest.approx(12, abs=0.2)
        nursery.cancel_scope.cancel()


async def test_others_get_their_turn_between_two_reads_of_a_flood(autojump_clock: trio.testing.MockClock) -> None:
    read_limit = 4096
    listener = MemoryListener()

    async with (
        open_websocket_server(echo, listeners=[listener], read_limit=read_limit, ping_interval=None) as server,
        trio.open_nursery() as nursery,
    ):
        attacker, good = RawPeer(listener.connect()), RawPeer(listener.connect())
        await attacker.open_as_client(REQUEST.replace(b"/chat", b"/attacker"))
        await good.open_as_client()
        (flooded,) = [ws for ws in server.connections if ws.request.path == "/attacker"]
        await attacker.send(frame(PING) * 100_000)
        nursery.start_soon(attacker.read_to_end)
        for _ in range(20):
            began = flooded.statistics().bytes_received
            await good.send(frame(TEXT, b"hello"))
            answer = await good.receive()
            assert answer is not None
            assert answer.payload == b"hello"
            # There and back again is a few turns of the scheduler; the flood gets one read in each.
            assert 0 < flooded.statistics().bytes_received - began <= 10 * read_limit
        nursery.cancel_scope.cancel()


def test_flood_of_a_million_pings_over_tcp(tmp_path: Path) -> None:
    """Its sender reads nothing: it is dropped, and until then it costs no memory and keeps nobody waiting for long."""
    with serving(tmp_path, ping_interval=1, ping_timeout=1) as server, server.open() as good:
        attacker = socket.socket()
        attacker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with attacker:
            attacker.connect(("127.0.0.1", server.port))
            attacker.sendall(REQUEST)
            server.wait_for(lambda now: now["open_connections"] == 2)
            before = server.rss()
            server.forget_peak()
            attack = threading.Thread(target=flood, args=[attacker, frame(PING, bytes(125)) * 1_000_000])
            attack.start()
            answered = 0
            while attack.is_alive():
                good.sendall(frame(TEXT, b"hello"))
                while receive_frame(good).opcode == PING:
                    pass  # of the keepalive; whatever we send next is a sign of life
                answered += 1
            attack.join()
        assert server.statistics()["open_connections"] == 1
        assert answered >= 10
        assert server.peak() - before <= MIB
