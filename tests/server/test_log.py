"""What peers send stands in the log in quotes: no line breaks, no terminal sequences, no endless lines."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from tests.raw import BINARY, REQUEST, TEXT, MemoryListener, RawPeer, close, frame
from trio_ws import WebSocketConnection, open_websocket_server

#: A line break, a terminal sequence, the C1 characters that some terminals obey, a direction override, and length.
HOSTILE = "\n2026-01-01 ERROR all is lost\r\x1b[2J\x1b]0;title\x07\x85\x9b2J\u202e\u2028" + "A" * 5000


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET /\x1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n", id="target"),
        pytest.param(b"GET /\x9b2J HTTP/1.1\r\nHost: localhost\r\n\r\n", id="target-C1"),
        pytest.param(b"GET /" + b"A" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="long-target"),
        pytest.param(b"BREW\x1b / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="method"),
        pytest.param(REQUEST.replace(b"Host: localhost", b"Host: local\x9bhost"), id="host"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nOrigin: http://\x85\x9b2J\r\n\r\n"), id="origin"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nOrigin: " + b"a" * 8000 + b"\r\n\r\n"), id="long-origin"),
        pytest.param(REQUEST.replace(b"Version: 13", b"Version: 13\x9b2J"), id="version"),
        pytest.param(REQUEST.replace(b"Upgrade: websocket", b"Upgrade: web\x85socket"), id="upgrade"),
        pytest.param(REQUEST.replace(b"Key: ", b"Key: \x9b2J"), id="key"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: \x9b\r\n\r\n"), id="extensions"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: \x9b\r\n\r\n"), id="subprotocol"),
        pytest.param(REQUEST.replace(b"/chat", b"/%0a%1b[2J"), id="hook-that-fails"),
        pytest.param(REQUEST + frame(TEXT, HOSTILE.encode()), id="text"),
        pytest.param(REQUEST + frame(BINARY, HOSTILE.encode()), id="binary"),
        pytest.param(REQUEST + close(4000, HOSTILE.encode()[:100]), id="close-reason"),
        pytest.param(REQUEST + frame(9, HOSTILE.encode()[:100]), id="ping"),
        pytest.param(REQUEST + frame(10, HOSTILE.encode()[:100]), id="pong"),
        pytest.param(REQUEST + frame(TEXT, b"\n\x1b\xff"), id="text-that-is-not-UTF-8"),
    ],
)
async def test_nothing_that_a_client_sends_breaks_a_line_of_the_log(
    sent: bytes, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_ws")

    def fail(request: object) -> None:
        if "%0a" in getattr(request, "target", ""):
            raise ZeroDivisionError

    async def echo(ws: WebSocketConnection) -> None:
        async for message in ws:
            await ws.send(message)

    listener = MemoryListener()
    async with open_websocket_server(echo, listeners=[listener], process_request=fail):
        peer = RawPeer(listener.connect())
        await peer.send(sent)
        await peer.stream.send_eof()
        await peer.read_to_end()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("trio_ws")]
    assert len(lines) > 1
    assert [line for line in lines if not line.isprintable()] == []
    assert max(map(len, lines)) < 1000
