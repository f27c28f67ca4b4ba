"""A running server: what it knows of itself, what it refuses, and its part in a larger program."""

from __future__ import annotations

import enum
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.raw import REQUEST, MemoryListener, RawPeer, close, until
from trio_ws import (
    ConnectionRejected,
    WebSocketConnection,
    WebSocketServer,
    open_websocket,
    open_websocket_server,
    serve_websocket,
    wrap_client_stream,
)


async def until_closed(ws: WebSocketConnection) -> None:
    await ws.wait_closed()


async def test_full_server_answers_503_and_has_room_again_when_one_leaves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    listener = MemoryListener()
    async with open_websocket_server(until_closed, listeners=[listener], max_connections=2) as server:
        first, second, third = (RawPeer(listener.connect()) for _ in range(3))
        await first.open_as_client()
        await second.open_as_client()
        await third.send(REQUEST)
        answer = await third.read_to_end()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert server.statistics().open_connections == len(server.connections) == 2
        await first.send(close())
        await first.read_to_end()
        await trio.testing.wait_all_tasks_blocked()
        await RawPeer(listener.connect()).open_as_client()
        assert server.statistics().accepted == 3


@pytest.mark.parametrize("field", [b"Upgrade: h2c", b"Upgrade: websocket\r\nOrigin: http://elsewhere.example"])
async def test_refused_client_that_does_not_leave_takes_no_place(
    field: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    listener = MemoryListener()
    async with open_websocket_server(until_closed, listeners=[listener], max_connections=1):
        refused = RawPeer(listener.connect())
        await refused.send(REQUEST.replace(b"Upgrade: websocket", field))
        assert (await refused.read_head()).startswith(b"HTTP/1.1 4")
        await RawPeer(listener.connect()).open_as_client()


async def test_servers_in_one_process_do_not_answer_for_each_other(autojump_clock: trio.testing.MockClock) -> None:
    """Not even if one says with an enumeration what the other says with a plain str."""

    class Word(str, enum.Enum):  # noqa: UP042  # a StrEnum looks the same when it is formatted
        chat = "chat"

    request = REQUEST.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
    for options in (
        {"select_subprotocol": lambda *_: Word.chat},
        {"subprotocols": [Word.chat]},
        {"subprotocols": ["chat"]},
    ):
        for value in (Word.chat, "chat"):
            listener = MemoryListener()
            extra: dict[str, Any] = {"extra_headers": {"X-What": value}, "server_header": value}
            async with open_websocket_server(until_closed, listeners=[listener], **options, **extra):
                peer = RawPeer(listener.connect())
                lines = (await peer.open_as_client(request)).split(b"\r\n")
                assert lines[-5:-2] == [b"Sec-WebSocket-Protocol: chat", b"X-What: chat", b"Server: chat"]
                await peer.send(close())
                await peer.read_to_end()


async def test_tls_client_that_says_nothing_is_dropped_at_open_timeout(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_ws")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with open_websocket_server(until_closed, "127.0.0.1", 0, ssl_context=context, open_timeout=0.05) as server:
        with trio.fail_after(10):
            silent = await trio.open_tcp_stream("127.0.0.1", server.port)
            assert await silent.receive_some() == b""
            await silent.aclose()
            plain = RawPeer(await trio.open_tcp_stream("127.0.0.1", server.port))
            await plain.send(REQUEST)
            assert not (await plain.read_to_end()).startswith(b"HTTP")
            await plain.stream.aclose()
            await until(lambda: server.statistics().refused == 2)
    assert not any(record.exc_info for record in caplog.records)


async def test_tls_handshake_in_progress_does_not_hold_up_the_shutdown() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with trio.fail_after(10):
        async with open_websocket_server(until_closed, "127.0.0.1", 0, ssl_context=context) as server:
            async with await trio.open_tcp_stream("127.0.0.1", server.port):
                await until(lambda: server.statistics().handshakes_in_progress)
                await server.aclose()


async def test_nursery_start_returns_the_server() -> None:
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[WebSocketServer]) -> None:
            await serve_websocket(until_closed, "127.0.0.1", 0, shutdown_signals=(), task_status=task_status)

        server: WebSocketServer = await nursery.start(serve)
        async with open_websocket(f"ws://127.0.0.1:{server.port}/") as ws:
            server.shutdown()
            assert (await ws.wait_closed()).received_code == 1001
        await server.wait_closed()


async def test_server_may_be_shut_down_from_its_own_handler(autojump_clock: trio.testing.MockClock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        server.shutdown()
        await ws.wait_closed()

    listener = MemoryListener()
    async with open_websocket_server(handler, listeners=[listener]) as server:
        peer = RawPeer(listener.connect())
        await peer.open_as_client()
        received = await peer.receive()
        assert received is not None
        assert received.close_code == 1001
        await peer.send(close(1001))
        await server.wait_closed()
        await server.wait_closed()


async def test_shutdown_before_the_first_turn_of_the_scheduler() -> None:
    async with open_websocket_server(until_closed, "127.0.0.1", 0) as server:
        server.shutdown()
        port = server.port
        await server.wait_closed()
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_listeners_that_are_no_sockets_have_no_address(autojump_clock: trio.testing.MockClock) -> None:
    async with open_websocket_server(until_closed, listeners=[MemoryListener()]) as server:
        assert server.addresses == ()


async def test_several_listeners_serve_the_same_handler() -> None:
    listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
    async with open_websocket_server(until_closed, listeners=listeners) as server:
        ports = [address[1] for address in server.addresses]
        assert server.port == ports[0]
        for port in ports:
            async with open_websocket(f"ws://127.0.0.1:{port}/") as ws:
                await ws.ping()


async def test_without_shutdown_timeout_handlers_may_take_their_time(autojump_clock: trio.testing.MockClock) -> None:
    async def linger(ws: WebSocketConnection) -> None:
        await ws.wait_closed()
        await trio.sleep(50_000)

    listener = MemoryListener()
    async with open_websocket_server(linger, listeners=[listener], shutdown_timeout=None, ping_interval=None) as server:
        peer = RawPeer(listener.connect())
        await peer.open_as_client()
        await peer.send(close())
        await server.aclose()
        assert trio.current_time() >= 50_000


async def test_rejected_client_hears_why() -> None:
    async with open_websocket_server(until_closed, "127.0.0.1", 0, origins=["https://example.org"]) as server:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket(f"ws://127.0.0.1:{server.port}/", origin="https://evil.example"):
                raise AssertionError("it should not have opened")
        assert caught.value.response.status == 403


async def test_ipv6() -> None:
    try:
        listeners = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with (
        open_websocket_server(until_closed, listeners=listeners) as server,
        open_websocket(f"ws://[::1]:{server.port}/") as ws,
    ):
        assert ws.request.headers["Host"] == f"[::1]:{server.port}"
        await ws.ping()


async def test_client_that_comes_at_the_moment_of_the_shutdown_does_not_hold_it_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for turns in range(5):
        listener = MemoryListener()
        async with open_websocket_server(until_closed, listeners=[listener]) as server:
            silent, quick = RawPeer(listener.connect()), RawPeer(listener.connect())
            await quick.send(REQUEST)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            began = trio.current_time()
            server.shutdown()
            async with trio.open_nursery() as nursery:

                async def read(peer: RawPeer) -> None:
                    await peer.read_to_end()
                    await peer.stream.aclose()

                nursery.start_soon(read, quick)
                nursery.start_soon(read, silent)
                await server.wait_closed()
            assert trio.current_time() - began < 1


async def test_client_that_was_refused_and_stays_does_not_hold_up_the_shutdown(
    autojump_clock: trio.testing.MockClock,
) -> None:
    listener = MemoryListener()
    async with open_websocket_server(until_closed, listeners=[listener]) as server:
        peer = RawPeer(listener.connect())
        await peer.send(REQUEST.replace(b"GET", b"PUT"))
        assert (await peer.read_to_end()).startswith(b"HTTP/1.1 405 ")
        await server.aclose()
        assert trio.current_time() < 1


async def test_server_without_a_tcp_port_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with open_websocket_server(until_closed, listeners=[MemoryListener()]) as server:
        with pytest.raises(RuntimeError, match="TCP port"):
            _ = server.port


async def test_port_and_addresses_are_known_after_the_end_too() -> None:
    async with open_websocket_server(until_closed, "127.0.0.1", 0) as server:
        port = server.port
    assert server.addresses == (("127.0.0.1", port),)


async def test_handler_must_be_callable() -> None:
    with pytest.raises(TypeError, match="handler is an async function"):
        await serve_websocket(None, "127.0.0.1", 0)  # type: ignore[arg-type]


async def test_cancelled_tls_server_says_1001_to_everyone() -> None:
    """All at once: no single one of them may need more than a few turns of the scheduler."""
    ca = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    ca.issue_cert("localhost").configure_cert(ours)
    ca.configure_trust(theirs)
    codes: list[int | None] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def client(url: str, task_status: trio.TaskStatus[None]) -> None:
                async with open_websocket(url, ssl_context=theirs, open_timeout=30) as ws:
                    task_status.started()
                    codes.append((await ws.wait_closed()).received_code)

            with trio.CancelScope() as scope:
                async with open_websocket_server(
                    until_closed, "127.0.0.1", 0, ssl_context=ours, open_timeout=30
                ) as server:
                    async with trio.open_nursery() as starting:
                        for _ in range(60):
                            starting.start_soon(nursery.start, client, f"wss://localhost:{server.port}/")
                    scope.cancel()
    assert codes == [1001] * 60


async def test_unix_listener_is_served_like_any_other(tmp_path: Path) -> None:
    sock = trio.socket.socket(socket.AF_UNIX)
    await sock.bind(str(tmp_path / "ws.sock"))
    sock.listen()
    async with open_websocket_server(until_closed, listeners=[trio.SocketListener(sock)]) as server:
        assert server.addresses == (str(tmp_path / "ws.sock"),)
        with pytest.raises(RuntimeError, match="TCP port"):
            _ = server.port
        stream = await trio.open_unix_socket(str(tmp_path / "ws.sock"))
        async with wrap_client_stream(stream, "ws://localhost/") as ws:
            await ws.ping()
