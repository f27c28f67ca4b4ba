"""The entry points of a server: a program of its own, a part of a larger one, one stream of another framework."""

from __future__ import annotations

import logging
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from signal import SIGTERM
from typing import Any

import trio

from .._connection.connection import WebSocketConnection
from .._connection.nursery import open_background_nursery
from .._options import (
    Compression,
    ConnectionOptions,
    HandshakeOptions,
    Origins,
    ProcessRequest,
    ProcessResponse,
    SelectSubprotocol,
    count,
    seconds,
)
from .._values import HeadersLike, Request
from .._version import SERVER_HEADER
from .negotiation import check_handshake_options, negotiate
from .server import Handler, HandlerErrors, ServerOptions, WebSocketServer
from .upgrade import Upgrade, deadline_from

__all__ = ["open_websocket_server", "serve_websocket", "wrap_server_stream"]

_log = logging.getLogger("trio_ws.server")


async def serve_websocket(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    subprotocols: Sequence[str] = (),
    select_subprotocol: SelectSubprotocol | None = None,
    origins: Origins = "same-host",
    extra_headers: HeadersLike = (),
    server_header: str | None = SERVER_HEADER,
    handler_errors: HandlerErrors = "log",
    max_connections: int | None = None,
    compression: Compression = "deflate",
    max_size: int | None = 2**20,
    max_queue: int = 16,
    max_fragments: int | None = None,
    read_limit: int = 2**16,
    write_limit: int = 2**16,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    shutdown_timeout: float | None = 10,
    shutdown_signals: Iterable[int] = (SIGTERM,),
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a WebSocket server until a signal, :meth:`WebSocketServer.shutdown` or cancellation ends it.

    ``trio.run(serve_websocket, handler, "0.0.0.0", 8765)`` is a whole program. On SIGTERM it stops accepting, sends
    every client a close frame with 1001, gives handlers ``shutdown_timeout`` seconds to end, and returns.
    ``await nursery.start(serve_websocket, ...)`` returns the :class:`WebSocketServer` once it listens.

    Args:
        handler: ``async def handler(ws)``, run in a task of its own for each :class:`WebSocketConnection`, which is
            closed when it returns.
        host: The address to listen on; None is every one this machine has.
        port: The TCP port; 0 has the system choose one, see :attr:`WebSocketServer.port`.
        listeners: Trio listeners to use instead of ``host`` and ``port``. They are closed at the end.
        ssl_context: Serves TLS. ALPN ``http/1.1`` is set on it, since nothing else is spoken here.
        process_request: Called with every well-formed :class:`Request`, also one that is no WebSocket at all. Returns
            a :class:`Response` to answer with (a page, a health check, 401), or None to let the handshake go on.
            Plain or async.
        process_response: Called with the request and the answer about to be sent, whether 101 or not. Returns another
            one, or None to leave it. Plain or async.
        subprotocols: Those this server speaks, in its order of preference. If the client offers none of them,
            none is used.
        select_subprotocol: Chooses instead: called with the request and the names that the client offers.
        origins: Which web pages may connect, by the Origin header that browsers send (RFC 6455 §10.2).
            ``"same-host"``: those from the host they connect to, and clients that are no browsers. Or a list of
            origins: strings such as ``"https://example.org"``, compiled regular expressions, and None for
            clients that send no Origin. ``"any"``: every web page in the world, with its user's cookies.
        extra_headers: To add to the 101 response.
        server_header: Value of the Server header, or None for no such header.
        handler_errors: What happens when a handler raises. ``"log"``: it is logged with its traceback, the
            connection is closed with 1011, the server lives. ``"raise"``: it ends the server and is raised here.
        max_connections: Open connections at the same time; more are answered with 503. None: no limit.
        compression: ``"deflate"``: messages are compressed if the client offers it (RFC 7692), with a window that
            suits servers. Or a :class:`Deflate`, or None: they never are.
        max_size: Bytes in a message, after inflation; a larger one is refused, from its header where that tells, with
            1009. None: no limit.
        max_queue: Messages that are kept for a handler that does not receive them. Then reading stops.
        max_fragments: Frames in a message, empty ones counted; more are refused with 1008. None: 1/64 of
            ``max_size`` and one more, at least 1024.
        read_limit: Bytes to read at once, or a 4096th more. A connection takes up to ``max_queue * max_size``, plus one
            message being put together, plus one such read.
        write_limit: Bytes of frames that are left to a task that is writing just now, before another one's
            send waits.
        open_timeout: Seconds for TLS, request and answer together.
        ping_interval: Seconds between pings.
        ping_timeout: Seconds in which anything must come from the peer after a ping. A peer that takes nothing we write
            is dropped after ``ping_interval + ping_timeout``; if either is None, a send may wait for ever.
        close_timeout: Seconds for the closing handshake.
        shutdown_timeout: Seconds that handlers get to end when the server shuts down.
        shutdown_signals: Signals that shut the server down; a second one ends it at once. Trio can only receive signals
            in the main thread: elsewhere pass ``()``.
        task_status: Gives the server to ``nursery.start()``.

    Every number of seconds may be None, which switches that off.

    Raises:
        OSError: The address cannot be listened on.
        ValueError, TypeError: An argument makes no sense.
        RuntimeError: There are shutdown signals, but this is not the main thread.

    Cancellation: ends the server at once. Every client still gets a 1001 where that costs no waiting.
    """
    signals = tuple(shutdown_signals)
    if signals and threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "signals can only be received in the main thread: pass shutdown_signals=() and call server.shutdown()"
        )
    async with open_websocket_server(
        handler,
        host,
        port,
        listeners=listeners,
        ssl_context=ssl_context,
        process_request=process_request,
        process_response=process_response,
        subprotocols=subprotocols,
        select_subprotocol=select_subprotocol,
        origins=origins,
        extra_headers=extra_headers,
        server_header=server_header,
        handler_errors=handler_errors,
        max_connections=max_connections,
        compression=compression,
        max_size=max_size,
        max_queue=max_queue,
        max_fragments=max_fragments,
        read_limit=read_limit,
        write_limit=write_limit,
        open_timeout=open_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        shutdown_timeout=shutdown_timeout,
    ) as server:
        if not signals:
            task_status.started(server)
            await server.wait_closed()
            return
        with trio.open_signal_receiver(*signals) as received:
            async with open_background_nursery() as nursery:
                nursery.start_soon(_obey_signals, received, server)
                task_status.started(server)
                await server.wait_closed()


async def _obey_signals(received: AsyncIterator[int], server: WebSocketServer) -> None:
    # Runs to the very end, because a signal that nobody took is delivered again when its receiver is closed, and
    # would kill the process at the moment when everything has been done well.
    async for number in received:
        name = signal.Signals(number).name
        if server.statistics().shutting_down:
            _log.info("%s while shutting down: ending at once", name)
            server.cancel()
        else:
            _log.info("%s: shutting down", name)
            server.shutdown()


@asynccontextmanager
async def open_websocket_server(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    subprotocols: Sequence[str] = (),
    select_subprotocol: SelectSubprotocol | None = None,
    origins: Origins = "same-host",
    extra_headers: HeadersLike = (),
    server_header: str | None = SERVER_HEADER,
    handler_errors: HandlerErrors = "log",
    max_connections: int | None = None,
    compression: Compression = "deflate",
    max_size: int | None = 2**20,
    max_queue: int = 16,
    max_fragments: int | None = None,
    read_limit: int = 2**16,
    write_limit: int = 2**16,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    shutdown_timeout: float | None = 10,
) -> AsyncIterator[WebSocketServer]:
    """A WebSocket server inside a larger program: it runs as long as the ``async with`` block.

    Leaving the block shuts the server down as :meth:`WebSocketServer.aclose` does; leaving it by cancellation or
    KeyboardInterrupt ends it at once. Signals are not this function's business.

    Args:
        handler: As all the other arguments, as in :func:`serve_websocket`.

    Raises:
        OSError: The address cannot be listened on.
        ValueError, TypeError: An argument makes no sense.

    Cancellation: ends the server at once. Every client still gets a 1001 where that costs no waiting.
    """
    seconds(open_timeout, "open_timeout")
    seconds(shutdown_timeout, "shutdown_timeout")
    count(max_connections, "max_connections", least=1, optional=True)
    options = ServerOptions(
        handler=handler,
        handler_errors=handler_errors,
        ssl_context=ssl_context,
        max_connections=max_connections,
        open_timeout=open_timeout,
        shutdown_timeout=shutdown_timeout,
        handshake=check_handshake_options(
            HandshakeOptions(
                process_request=process_request,
                process_response=process_response,
                subprotocols=subprotocols,
                select_subprotocol=select_subprotocol,
                origins=origins,
                extra_headers=extra_headers,
                server_header=server_header,
            )
        ),
        connection=ConnectionOptions(
            compression=compression,
            max_size=max_size,
            max_queue=max_queue,
            max_fragments=max_fragments,
            read_limit=read_limit,
            write_limit=write_limit,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
        ),
    )
    if not callable(handler):
        raise TypeError(f"handler is an async function that takes a connection, not {handler!r}")
    if (listeners is None) == (port is None) or (listeners is not None and host is not None):
        raise ValueError("say where to listen: either host and port (0 for any), or listeners")
    if ssl_context is not None:
        ssl_context.set_alpn_protocols(["http/1.1"])
    if listeners is None:
        assert port is not None
        listeners = await trio.open_tcp_listeners(port, host=host)
    server = WebSocketServer(listeners, options)
    async with open_background_nursery() as nursery:
        nursery.start_soon(server._run)
        try:
            yield server
        except Exception:  # any error of the block is polite to the clients; Cancelled and Ctrl-C mean now (law 7)
            await server.aclose()
            raise
        await server.aclose()


@asynccontextmanager
async def wrap_server_stream(
    stream: trio.abc.Stream,
    *,
    request: Request | None = None,
    initial_data: bytes = b"",
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    subprotocols: Sequence[str] = (),
    select_subprotocol: SelectSubprotocol | None = None,
    origins: Origins = "same-host",
    extra_headers: HeadersLike = (),
    server_header: str | None = SERVER_HEADER,
    compression: Compression = "deflate",
    max_size: int | None = 2**20,
    max_queue: int = 16,
    max_fragments: int | None = None,
    read_limit: int = 2**16,
    write_limit: int = 2**16,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
) -> AsyncIterator[WebSocketConnection]:
    """Adopt any Trio stream as the server's side of a WebSocket, opening handshake included.

    This is what :func:`serve_websocket` does with each client. Use it as
    ``async with wrap_server_stream(stream) as ws``.

    Args:
        stream: Any Trio stream. It is ours from here on, unless an argument makes no sense, and closed when the
            block is left.
        request: The request, if the caller has read it already.
        initial_data: Bytes read from the stream already: behind the request if one is given, else its beginning.
        process_request: As all the other arguments, as in :func:`serve_websocket`.

    Raises:
        ConnectionRejected: The request was answered with something else than 101; the client has the answer.
        HandshakeTimeout: The handshake was not complete within ``open_timeout``.
        HandshakeError: The client went away, or its stream broke.

    Cancellation: closes the stream at once, with a 1001 in front where that costs no waiting.
    """
    options = ConnectionOptions(
        compression=compression,
        max_size=max_size,
        max_queue=max_queue,
        max_fragments=max_fragments,
        read_limit=read_limit,
        write_limit=write_limit,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
    )
    handshake = check_handshake_options(
        HandshakeOptions(
            process_request=process_request,
            process_response=process_response,
            subprotocols=subprotocols,
            select_subprotocol=select_subprotocol,
            origins=origins,
            extra_headers=extra_headers,
            server_header=server_header,
        )
    )
    upgrade = Upgrade(
        stream,
        deadline=deadline_from(seconds(open_timeout, "open_timeout")),
        options=options,
        request=request,
        initial_data=initial_data,
    )
    try:
        await upgrade._read()
        response = await negotiate(upgrade, handshake)
        async with upgrade._connection(response) as ws:
            yield ws
    finally:
        await upgrade._finish()
