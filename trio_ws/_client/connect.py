"""The entry points of a client: a connection as a scope, in a nursery, or on a stream that is there already."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from .._connection.connection import WebSocketConnection
from .._connection.transport import Transport
from .._options import Compression, ConnectionOptions
from .._values import HeadersLike
from .._version import USER_AGENT
from .handshake import ClientOptions, open_stream, shake_hands
from .url import parse_url

__all__ = ["connect_websocket", "open_websocket", "wrap_client_stream"]


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    extra_headers: HeadersLike = (),
    user_agent: str | None = USER_AGENT,
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
    """Open a WebSocket; it is closed when the ``async with`` block is left.

    Leaving the block closes with 1000, by an exception with 1011, by cancellation with 1001 and without waiting. What
    the block raises comes out as it is.

    Args:
        url: ``ws://`` or ``wss://``, host, and optionally port, path, query and ``user:password@``, which is sent as
            HTTP Basic authorization.
        ssl_context: For ``wss``. The default verifies the server's certificate and its name.
        subprotocols: Those this client speaks, the preferred first. The server chooses one of them or none.
        origin: Value of the Origin header. Only browsers have to send one.
        extra_headers: To add to the request, for example Authorization or Cookie.
        user_agent: Value of the User-Agent header, or None for no such header.
        compression: ``"deflate"``: offer to compress messages (RFC 7692); the server decides. Or a :class:`Deflate`,
            or None: never.
        max_size: Bytes in a message, after inflation; a larger one is refused, from its header where that tells, with
            1009. None: no limit.
        max_queue: Messages that are kept while nobody receives them. Then reading stops, and the server slows down.
        max_fragments: Frames in a message, empty ones counted; more are refused with 1008. None: 1/64 of
            ``max_size`` and one more, at least 1024.
        read_limit: Bytes to read at once, or a 4096th more. A connection takes up to ``max_queue * max_size``, plus one
            message being put together, plus one such read.
        write_limit: Bytes of frames that are left to a task that is writing just now, before another one's
            send waits.
        open_timeout: Seconds for TCP, TLS and the opening handshake together.
        ping_interval: Seconds between pings.
        ping_timeout: Seconds in which anything must come from the server after a ping. A server that takes
            nothing we write is given up after ``ping_interval + ping_timeout``; if either is None, a send may wait
            for ever.
        close_timeout: Seconds for the closing handshake.

    Every number of seconds may be None, which switches that off.

    Raises:
        InvalidURL: The URL is not one that a WebSocket can be opened on.
        ConnectionRejected: The server answered with something else than 101.
        HandshakeTimeout: The connection did not open within ``open_timeout``.
        HandshakeError: Resolving, connecting, TLS or the opening handshake failed.
        ValueError, TypeError: An argument makes no sense.

    Cancellation: closes the stream at once, with a 1001 in front where that costs no waiting.
    """
    parsed = parse_url(url)
    options = ClientOptions(
        subprotocols=subprotocols,
        origin=origin,
        extra_headers=extra_headers,
        user_agent=user_agent,
        open_timeout=open_timeout,
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
    deadline = options.deadline()
    stream = await open_stream(parsed, ssl_context, deadline)
    opened = await shake_hands(stream, parsed, options, deadline)
    async with opened.connection() as ws:
        yield ws


async def connect_websocket(
    nursery: trio.Nursery,
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    extra_headers: HeadersLike = (),
    user_agent: str | None = USER_AGENT,
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
) -> WebSocketConnection:
    """Open a WebSocket whose background task lives in a nursery of yours.

    For programs that cannot say where a connection ends by an ``async with`` block of :func:`open_websocket`: many
    connections in one nursery, say. The caller closes the connection, with ``await ws.aclose()`` or ``async with ws``;
    when the nursery is cancelled it is closed with 1001 and without waiting. Nothing that happens to the connection is
    raised in the nursery.

    Args:
        nursery: Where the background tasks run.
        url: As all the other arguments, as in :func:`open_websocket`.

    Raises:
        HandshakeError: As in :func:`open_websocket`; raised here, not in the nursery.
        ValueError, TypeError: An argument makes no sense.
        RuntimeError: The nursery is closed.

    Cancellation: closes what was opened so far.
    """
    parsed = parse_url(url)
    options = ClientOptions(
        subprotocols=subprotocols,
        origin=origin,
        extra_headers=extra_headers,
        user_agent=user_agent,
        open_timeout=open_timeout,
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
    deadline = options.deadline()
    stream = await open_stream(parsed, ssl_context, deadline)
    opened = await shake_hands(stream, parsed, options, deadline)
    try:
        return opened.start_in(nursery)
    except RuntimeError:
        await Transport(stream).close()  # the nursery was closed in the meantime
        raise


@asynccontextmanager
async def wrap_client_stream(
    stream: trio.abc.Stream,
    url: str,
    *,
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    extra_headers: HeadersLike = (),
    user_agent: str | None = USER_AGENT,
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
    """Adopt any Trio stream as the client's side of a WebSocket, opening handshake included.

    Use it as ``async with wrap_client_stream(stream, url) as ws``: a tunnel, a Unix socket, a pair of memory streams.

    Args:
        stream: Any Trio stream; for ``wss`` one on which TLS has been started. It is ours from here on,
            unless an argument makes no sense, and closed when the block is left.
        url: Gives the Host header and the target. Nothing is connected to.
        subprotocols: As all the other arguments, as in :func:`open_websocket`.

    Raises:
        HandshakeError: As in :func:`open_websocket`.
        ValueError, TypeError: An argument makes no sense.

    Cancellation: closes the stream at once, with a 1001 in front where that costs no waiting.
    """
    parsed = parse_url(url)
    options = ClientOptions(
        subprotocols=subprotocols,
        origin=origin,
        extra_headers=extra_headers,
        user_agent=user_agent,
        open_timeout=open_timeout,
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
    opened = await shake_hands(stream, parsed, options, options.deadline())
    async with opened.connection() as ws:
        yield ws
