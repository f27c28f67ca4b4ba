"""What happens in the wild, over real TCP sockets: nothing hangs, nothing is corrupted, nothing is left behind."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from tests.raw import CLOSE, PONG, REQUEST, TEXT, RawPeer, close, frame, frames, torn, until
from trio_ws import (
    ConnectionClosed,
    ConnectionClosedError,
    RemoteHandshakeError,
    WebSocketConnection,
    WebSocketServer,
    open_websocket,
    open_websocket_server,
)

#: Seconds that a test may take; each should need a small part of that, also on a busy machine.
LIMIT = 30


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def running(handler: Any = echo, **options: Any) -> AsyncIterator[tuple[WebSocketServer, str]]:
    """A server, its URL, and a limit to how long the test may take."""
    with trio.fail_after(LIMIT):
        async with open_websocket_server(handler, "127.0.0.1", 0, **options) as server:
            yield server, f"ws://127.0.0.1:{server.port}/"
        assert server.connections == frozenset()
        assert server.statistics().handshakes_in_progress == 0


async def connect_raw(server: WebSocketServer, *, small_buffers: bool = False) -> RawPeer:
    sock = trio.socket.socket()
    if small_buffers:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", server.port))
    peer = RawPeer(trio.SocketStream(sock))
    await peer.open_as_client()
    return peer


async def test_client_leaves_with_100_unread_messages() -> None:
    async def flood(ws: WebSocketConnection) -> None:
        with suppress(ConnectionClosed):
            for number in range(1000):
                await ws.send(f"{number}" * 100)
            await ws.wait_closed()

    async with running(flood) as (_, url):
        async with open_websocket(url) as ws:
            assert await ws.receive() == "0" * 100
            await until(lambda: ws.statistics().queued_messages == 16)
        assert ws.close_reason is not None
        assert ws.close_reason.ok


async def test_handler_returns_with_unread_messages_and_no_task_is_left() -> None:
    async def take_one(ws: WebSocketConnection) -> None:
        await ws.receive()

    async with running(take_one) as (server, url):
        for _ in range(5):
            async with open_websocket(url) as ws:
                with suppress(ConnectionClosed):
                    for number in range(200):
                        await ws.send(f"{number}" * 100)
                reason = await ws.wait_closed()
                assert reason.received_code == 1000
        await until(lambda: not server.connections)
        # The main task and the server's own: what is left does not grow with the connections that have been.
        assert trio.lowlevel.current_statistics().tasks_living < 12


async def test_both_sides_send_20_mb_at_once_while_both_read() -> None:
    chunk, count = bytes(range(256)) * 4096, 20

    async def exchange(ws: WebSocketConnection) -> None:
        async def send() -> None:
            for _ in range(count):
                await ws.send(chunk)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for _ in range(count):
                assert await ws.receive() == chunk

    async with running(exchange, handler_errors="raise") as (_, url), open_websocket(url) as ws:
        await exchange(ws)


@pytest.mark.parametrize("waiting", ["send", "ping", "aclose", "shutdown"])
async def test_peer_that_stops_reading_holds_up_nothing_for_long(waiting: str) -> None:
    ended = trio.Event()

    async def handler(ws: WebSocketConnection) -> None:
        try:
            if waiting in ("send", "shutdown"):
                while True:
                    await ws.send(bytes(2**16))
            async with trio.open_nursery() as nursery:

                async def fill() -> None:
                    with suppress(ConnectionClosed):
                        while True:
                            await ws.send(bytes(2**16))

                nursery.start_soon(fill)
                await trio.sleep(0.3)
                await (ws.ping() if waiting == "ping" else ws.aclose())
        finally:
            ended.set()

    options: dict[str, Any] = {"ping_interval": None, "close_timeout": 0.5, "shutdown_timeout": 0.5}
    if waiting in ("send", "ping"):
        options |= {"ping_interval": 0.5, "ping_timeout": 0.5}
    async with running(handler, **options) as (server, _):
        peer = await connect_raw(server, small_buffers=True)
        began = trio.current_time()
        if waiting == "shutdown":
            await trio.sleep(0.3)
            await server.aclose()
        await ended.wait()
        assert trio.current_time() - began < 5
        await peer.stream.aclose()


async def test_peer_that_sends_close_and_keeps_tcp_open() -> None:
    async with running(close_timeout=5) as (server, _):
        peer = await connect_raw(server)
        await peer.send(close(1000))
        answer = await peer.receive()
        assert answer is not None
        assert answer.opcode == CLOSE
        assert await peer.receive() is None  # the server closes TCP first (RFC 6455 §7.1.1)
        await until(lambda: not server.connections)
        await peer.stream.aclose()


async def test_server_that_sends_close_and_keeps_tcp_open() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener, trio.open_nursery() as nursery:

        async def stubborn() -> None:
            peer = RawPeer(await listener.accept())
            await peer.open_as_server()
            async with peer.stream:
                await peer.send(close(1000, mask=False))
                await trio.sleep_forever()

        nursery.start_soon(stubborn)
        url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        with trio.fail_after(LIMIT):
            async with open_websocket(url, close_timeout=0.3) as ws:
                assert (await ws.wait_closed()).ok
        nursery.cancel_scope.cancel()


OPENING = REQUEST + frame(TEXT, b"hello") + frame(TEXT, bytes(200))


@pytest.mark.parametrize("reset", [False, True], ids=["eof", "rst"])
async def test_tcp_ends_at_every_byte_of_handshake_and_frames(reset: bool) -> None:
    async with running() as (server, url):
        for end in range(len(OPENING)):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            if end:
                await stream.send_all(OPENING[:end])
            if reset:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
        async with open_websocket(url) as ws:
            await ws.send("still alive")
            assert await ws.receive() == "still alive"
        await until(lambda: not server.connections and not server.statistics().handshakes_in_progress)


async def test_server_ends_at_every_byte_of_handshake_and_frames() -> None:
    """Our client's side of the same."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: 0000000000000000000000000000\r\n\r\n"
    )
    end = 0

    async def cut_short() -> None:
        while True:
            async with await listener.accept() as stream:
                peer = RawPeer(stream)
                await peer.read_head()
                await peer.send(answer[:end])

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(cut_short)
        url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        with trio.fail_after(LIMIT):
            for end in range(len(answer)):  # noqa: B007  # the server in cut_short() reads it
                with pytest.raises(RemoteHandshakeError):
                    async with open_websocket(url):
                        raise AssertionError("it should not have opened")
        nursery.cancel_scope.cancel()


async def test_move_on_after_around_a_large_send() -> None:
    """Cancelled when a part may have been sent: the connection is dead, and the peer gets whole frames and an end."""
    outcome: list[str] = []

    async def handler(ws: WebSocketConnection) -> None:
        await ws.send("before")
        with trio.move_on_after(0.2) as scope:
            await ws.send(bytes(50_000_000))
        assert scope.cancelled_caught
        with pytest.raises(ConnectionClosedError):
            await ws.send("after")
        outcome.append("dead")

    async with running(handler, handler_errors="raise", ping_interval=None) as (server, _):
        peer = await connect_raw(server, small_buffers=True)
        await until(lambda: outcome)
        data = await peer.read_to_end()
        assert [received.payload for received in frames(data)] == [b"before"]
        assert torn(data)[:2] == b"\x82\x7f"
        await peer.stream.aclose()


async def test_ping_that_waits_when_the_connection_dies() -> None:
    async with running() as (server, _):
        peer = await connect_raw(server)
        await until(lambda: server.connections)
        (ws,) = server.connections
        async with trio.open_nursery() as nursery:

            async def ping() -> None:
                with pytest.raises(ConnectionClosedError):
                    await ws.ping()

            nursery.start_soon(ping)
            await peer.receive()
            await peer.stream.aclose()


async def test_slow_but_healthy_consumer_for_five_times_ping_interval() -> None:
    """Both ends are ours, and both have a keepalive; the consumer takes one large message after the other, slowly."""
    interval = 0.4
    count = 25
    received = 0

    async def consume(ws: WebSocketConnection) -> None:
        nonlocal received
        async for _ in ws:
            received += 1
            await trio.sleep(interval / 4)

    options: dict[str, Any] = {"ping_interval": interval, "ping_timeout": interval, "max_queue": 1, "compression": None}
    async with running(consume, **options) as (_, url):
        began = trio.current_time()
        async with open_websocket(url, **options) as ws:
            for _ in range(count):
                await ws.send(bytes(500_000))
        assert trio.current_time() - began > 5 * interval or received == count
        assert ws.close_reason is not None
        assert ws.close_reason.ok
    assert received == count


async def test_half_closed_client_gets_its_answers() -> None:
    """It sends everything, shuts its sending side down, and reads what comes back."""
    async with running() as (server, _):
        peer = await connect_raw(server)
        await peer.send(frame(TEXT, b"one"), frame(TEXT, b"two"), close(1000))
        assert isinstance(peer.stream, trio.SocketStream)
        await peer.stream.send_eof()
        data = await peer.read_to_end()
        assert next(frames(data)).opcode in (TEXT, CLOSE)
        assert torn(data) == b""
        await peer.stream.aclose()


async def test_close_frame_is_read_although_the_client_goes_on_sending() -> None:
    """No RST in front of the 1009 that says what was wrong."""
    async with running(max_size=1000) as (server, _):
        peer = await connect_raw(server)
        with suppress(trio.BrokenResourceError):
            await peer.send(frame(TEXT, b"x" * 500_000))
        received = await peer.receive()
        assert received is not None
        assert (received.opcode, received.close_code) == (CLOSE, 1009)
        await peer.stream.aclose()


async def test_rejection_is_read_although_the_client_goes_on_sending() -> None:
    async with running() as (server, _):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(REQUEST.replace(b"GET", b"PUT") + bytes(500_000))
        data = await RawPeer(stream).read_to_end()
        assert data.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nAllow: GET\r\n" in data
        await stream.aclose()


async def test_port_and_addresses_are_known() -> None:
    async with running() as (server, _):
        assert server.addresses == (("127.0.0.1", server.port),)
        async with open_websocket(f"ws://127.0.0.1:{server.port}/") as ws:
            assert ws.remote_address == ("127.0.0.1", server.port)
            await until(lambda: server.connections)
            (theirs,) = server.connections
            assert theirs.remote_address == ws.local_address


async def test_event_loop_that_stands_still_drops_no_healthy_peer() -> None:
    """Our own fault is not the peer's, neither for a write that waits nor for a pong."""
    options: dict[str, Any] = {"ping_interval": 0.1, "ping_timeout": 0.1}

    async def handler(ws: WebSocketConnection) -> None:
        async with trio.open_nursery() as nursery:

            async def pour() -> None:
                for _ in range(200):
                    await ws.send(bytes(100_000))

            nursery.start_soon(pour)
            for _ in range(4):
                time.sleep(0.4)  # noqa: ASYNC251  # which is what must not be done in a handler
                await trio.sleep(0.02)

    async with running(handler, handler_errors="raise", **options) as (server, _):
        # A reader in a thread, which our event loop does not hold up.
        def read_and_answer(port: int) -> int:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(REQUEST)
                received = 0
                while chunk := sock.recv(2**16):
                    received += len(chunk)
                    sock.sendall(frame(PONG))
                    if chunk.endswith(close(1000, mask=False)):
                        sock.sendall(close(1000))
                        break
                return received

        assert await trio.to_thread.run_sync(read_and_answer, server.port) > 20_000_000
