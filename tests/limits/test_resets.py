"""Clients that vanish with RST at any byte of the handshake: nobody else notices, and no traceback is logged."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from tests.raw import REQUEST, until
from trio_ws import WebSocketConnection, WebSocketServer, open_websocket, open_websocket_server

#: Seconds that a test may take.
LIMIT = 60


class Tls:
    """A server's certificate, and a client that trusts it."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        authority = trustme.CA()
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        self.client.minimum_version = self.client.maximum_version = version


@asynccontextmanager
async def unimpressed_server(tls: Tls | None, caplog: pytest.LogCaptureFixture) -> AsyncIterator[WebSocketServer]:
    """A server that, after all that the block does to it, serves as before and has noted nothing worth a warning."""

    async def echo(ws: WebSocketConnection) -> None:
        async for message in ws:
            await ws.send(message)

    context = None if tls is None else tls.server
    with trio.fail_after(LIMIT), caplog.at_level(logging.INFO):
        async with open_websocket_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
            yield server
            url = f"{'ws' if tls is None else 'wss'}://localhost:{server.port}/"
            async with open_websocket(url, ssl_context=None if tls is None else tls.client) as ws:
                await ws.send("still alive")
                assert await ws.receive() == "still alive"
            await until(lambda: not server.connections and not server.statistics().handshakes_in_progress)
            assert server.statistics().handlers_failed == 0
    assert [record for record in caplog.records if record.levelno > logging.INFO or record.exc_info] == []


async def connect(server: WebSocketServer) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", server.port)


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


@pytest.mark.parametrize("seen", [False, True], ids=["at-once", "when-the-server-has-read-it"])
async def test_rst_at_every_byte_of_the_request(seen: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with unimpressed_server(None, caplog) as server:
        for end in range(len(REQUEST) + 1):
            stream = await connect(server)
            if end:
                await stream.send_all(REQUEST[:end])
            if seen:
                # What the server does with these bytes takes a few turns; there is nothing to wait for.
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
            await reset(stream)


async def test_rst_at_every_byte_of_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """The client has read so much of it, and leaves the rest unread."""
    async with unimpressed_server(None, caplog) as server:
        end = 0
        whole = False
        while not whole:
            stream = await connect(server)
            await stream.send_all(REQUEST)
            answer = b""
            while len(answer) < end and not whole:
                answer += await stream.receive_some(end - len(answer))
                whole = answer.endswith(b"\r\n\r\n")
            await reset(stream)
            end += 1
        assert end > 100


class TlsClient:
    """A TLS client by hand: every byte it wants to send is known before it is sent."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        #: Whether the request was in the last flight, behind all that belongs to TLS.
        self.complete = False

    def next_flight(self, received: bytes) -> bytes:
        """What to send now that these bytes have come from the server; it may be nothing, until more have come."""
        self._incoming.write(received)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            self._tls.write(REQUEST)
            self.complete = True
        return self._outgoing.read()


async def send_beginning(stream: trio.SocketStream, context: ssl.SSLContext, size: int) -> bool:
    """Send the first ``size`` bytes of what a client sends for a TLS handshake and the request behind it.

    Returns:
        Whether it has more to send than that.
    """
    client = TlsClient(context)
    received = b""
    while not client.complete:
        flight = client.next_flight(received)
        await stream.send_all(flight[:size])
        if size < len(flight):
            return True
        size -= len(flight)
        if not client.complete:
            received = await stream.receive_some()
    return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_rst_at_every_byte_of_tls_and_request(version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture) -> None:
    tls = Tls(version)
    hello = len(TlsClient(tls.client).next_flight(b""))
    async with unimpressed_server(tls, caplog) as server:
        size = 0
        more = True
        while more:
            size += 1
            stream = await connect(server)
            more = await send_beginning(stream, tls.client, size)
            await reset(stream)
        assert size > hello + len(REQUEST)
