"""Clients that never finish their opening handshake: each is dropped in time, and keeps nobody else out."""

from __future__ import annotations

import logging
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from tests.limits.served import read_to_end, serving
from tests.raw import REQUEST, TEXT, MemoryListener, RawPeer, frame
from trio_ws import WebSocketConnection, open_websocket_server, wrap_client_stream

OPEN_TIMEOUT = 10


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


class SlowClient:
    """Sends a byte a second, and reads until it is dropped."""

    def __init__(self, stream: trio.abc.Stream, data: bytes) -> None:
        self._stream = stream
        self._data = data
        self._connected = trio.current_time()
        #: What it got, and after how many seconds that ended.
        self.answer = b""
        self.lived: float | None = None

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drip)
            self.answer = await RawPeer(self._stream).read_to_end()
            self.lived = trio.current_time() - self._connected
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(self._stream)

    async def _drip(self) -> None:
        with suppress(trio.BrokenResourceError):
            for position in range(len(self._data)):
                await self._stream.send_all(self._data[position : position + 1])
                await trio.sleep(1)


def client_hello() -> bytes:
    """What a client sends first of all over TLS."""
    sent = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return sent.read()


@pytest.mark.parametrize(("tls", "count"), [(False, 2000), (True, 400)], ids=["http", "tls"])
async def test_slow_clients_are_dropped_and_good_ones_all_admitted(
    tls: bool, count: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = MemoryListener()
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    data = client_hello() if tls else REQUEST
    assert len(data) > 2 * OPEN_TIMEOUT
    good = 0

    async def good_client() -> None:
        nonlocal good
        began = trio.current_time()
        stream: trio.abc.Stream = listener.connect()
        if tls:
            stream = trio.SSLStream(stream, client_context, server_hostname="localhost")
        async with wrap_client_stream(stream, "ws://localhost/") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        assert trio.current_time() - began < 0.25
        good += 1

    async with open_websocket_server(
        echo,
        listeners=[listener],
        open_timeout=OPEN_TIMEOUT,
        max_connections=1,  # those that are not open yet do not count
        ssl_context=server_context if tls else None,
    ) as server:
        clients: list[SlowClient] = []
        async with trio.open_nursery() as nursery:
            for second in range(OPEN_TIMEOUT):
                for _ in range(count // OPEN_TIMEOUT):
                    clients.append(SlowClient(listener.connect(), data))
                    nursery.start_soon(clients[-1].run)
                await trio.sleep(0.5)
                assert server.statistics().handshakes_in_progress == (second + 1) * (count // OPEN_TIMEOUT)
                await good_client()
                await trio.sleep(0.5)
            for _ in range(OPEN_TIMEOUT):
                await good_client()
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert len(clients) == count
        assert {client.lived and round(client.lived) for client in clients} == {OPEN_TIMEOUT}
        if not tls:
            assert {client.answer.partition(b"\r\n")[0] for client in clients} == {b"HTTP/1.1 408 Request Timeout"}
        statistics = server.statistics()
        assert (statistics.handshakes_in_progress, statistics.refused, statistics.accepted) == (0, count, good)
    assert good == 2 * OPEN_TIMEOUT
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_slow_clients_over_tcp_are_dropped_and_a_good_one_is_served(tmp_path: Path) -> None:
    """Fewer, and quicker, because this clock cannot jump."""
    with serving(tmp_path, open_timeout=1) as server, ExitStack() as stack:
        fds = server.fds()
        clients = [stack.enter_context(server.connect()) for _ in range(300)]
        for byte in REQUEST[:20]:
            for sock in clients:
                with suppress(ConnectionResetError, BrokenPipeError):
                    sock.sendall(bytes([byte]))
            with server.open() as good:
                good.sendall(frame(TEXT, b"hello"))
                assert good.recv(7) == frame(TEXT, b"hello", mask=False)
        for sock in clients:
            assert read_to_end(sock).startswith(b"HTTP/1.1 408 ")
            sock.close()
        server.wait_for(lambda now: now["handshakes_in_progress"] == 1)
        assert server.fds() <= fds + 1
