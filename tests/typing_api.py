"""The public API as a typed program uses it: read by mypy and pyright, never run."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, assert_type

import trio

import trio_ws
from trio_ws import (
    CloseReason,
    ConnectionStatistics,
    Headers,
    Request,
    Response,
    ServerStatistics,
    Upgrade,
    WebSocketConnection,
    WebSocketServer,
)
from trio_ws.testing import FaultyStream, open_connection_pair


async def handler(ws: WebSocketConnection) -> None:
    async for message in ws:
        assert_type(message, str | bytes)
        await ws.send(message)
    await ws.send(bytearray(b"x"))
    await ws.send(memoryview(b"x"))
    await ws.send("a secret", compress=False)
    await ws.send_fragments(["a", "b"])
    await ws.send_fragments(pieces(), compress=False)
    async with ws.receive_fragments() as incoming:
        assert_type(await incoming.receive(), str | bytes)
    assert_type(await ws.ping(), float)
    assert_type(await ws.wait_closed(), CloseReason)
    assert_type(ws.close_reason, CloseReason | None)
    assert_type(ws.request, Request)
    assert_type(ws.response, Response)
    assert_type(ws.subprotocol, str | None)
    assert_type(ws.latency, float | None)
    assert_type(ws.id, str)
    assert_type(ws.statistics(), ConnectionStatistics)
    await ws.aclose(4000, "enough")
    channel: trio.abc.Channel[str | bytes] = ws
    await channel.aclose()


async def pieces() -> AsyncIterator[bytes]:
    yield b"x"


def plain_hook(request: Request) -> Response | None:
    return Response(200, "fine", {"X": "y"}) if request.path == "/healthz" else None


async def async_hook(request: Request) -> Response | None:
    return Response(302, headers=[("Location", "/")])


def response_hook(request: Request, response: Response) -> Response | None:
    return None


def select(request: Request, offered: Sequence[str]) -> str | None:
    return offered[0] if offered else None


async def server(nursery: trio.Nursery, listener: trio.SocketListener, context: ssl.SSLContext) -> None:
    await trio_ws.serve_websocket(handler, "0.0.0.0", 8765, ssl_context=context, process_request=plain_hook)
    await trio_ws.serve_websocket(handler, listeners=[listener], origins="any", handler_errors="raise")
    compression: trio_ws.Compression = trio_ws.Deflate(server_max_window_bits=10, min_size=0)
    await trio_ws.serve_websocket(handler, None, 8765, compression=compression)
    running: WebSocketServer = await nursery.start(trio_ws.serve_websocket, handler, None, 0)
    running.shutdown(1012, "new version")
    async with trio_ws.open_websocket_server(
        handler,
        None,
        0,
        process_request=async_hook,
        process_response=response_hook,
        subprotocols=["chat"],
        select_subprotocol=select,
        origins=["https://example.org", re.compile("https://.*"), None],
        ping_interval=None,
        max_connections=100,
    ) as opened:
        assert_type(opened, WebSocketServer)
        assert_type(opened.port, int)
        assert_type(opened.connections, frozenset[WebSocketConnection])
        assert_type(opened.statistics(), ServerStatistics)
        assert_type(opened.addresses, tuple[Any, ...])
        await opened.aclose()
        await opened.wait_closed()


async def streams(stream: trio.abc.Stream, request: Request) -> None:
    async with trio_ws.wrap_server_stream(stream, request=request, initial_data=b"x") as ws:
        assert_type(ws, WebSocketConnection)
    async with trio_ws.receive_upgrade(FaultyStream(stream, fail_at_call=1)) as upgrade:
        assert_type(upgrade, Upgrade)
        assert_type(upgrade.request.headers, Headers)
        await upgrade.reject(Response(403))
        async with upgrade.accept(subprotocol="chat", headers={"X": "y"}) as ws:
            await handler(ws)


async def client(nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
    async with trio_ws.open_websocket("wss://example.org", subprotocols=("chat",), extra_headers={"X": "y"}) as ws:
        assert_type(ws, WebSocketConnection)
    assert_type(await trio_ws.connect_websocket(nursery, "ws://example.org"), WebSocketConnection)
    async with trio_ws.wrap_client_stream(stream, "ws://example.org", ping_interval=None) as ws:
        assert_type(ws, WebSocketConnection)
    async with open_connection_pair(max_queue=1) as pair:
        assert_type(pair, tuple[WebSocketConnection, WebSocketConnection])


def speed() -> None:
    assert_type(trio_ws.accelerated, bool)


def errors(error: trio_ws.ConnectionClosed, rejected: trio_ws.ConnectionRejected) -> None:
    assert_type(error.reason, CloseReason)
    assert_type(error.reason.code, int)
    assert_type(rejected.response, Response)
