"""The client's way to an open connection: TCP, TLS, and its side of the opening handshake (RFC 6455 §4.1)."""

from __future__ import annotations

import math
import ssl
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from .._connection.connection import WebSocketConnection, open_connection, start_connection
from .._connection.keepalive import Keepalive
from .._connection.session import Session
from .._connection.tls import start_tls
from .._connection.transport import Transport
from .._errors import HandshakeError, HandshakeTimeout, RemoteHandshakeError
from .._options import ConnectionOptions, names, seconds
from .._values import Headers, HeadersLike, Request, Response, _headers
from .._wire.client_handshake import ClientHandshake
from .url import WebSocketURL

__all__ = ["ClientOptions", "Opened", "open_stream", "shake_hands"]

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


def _open_timeout(instance: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    seconds(value, attribute.name)


@attrs.frozen(kw_only=True)
class ClientOptions:
    """What a client asks for; what each means stands at :func:`trio_ws.open_websocket`."""

    subprotocols: tuple[str, ...] = attrs.field(converter=names)
    origin: str | None
    extra_headers: Headers = attrs.field(converter=_headers)
    user_agent: str | None
    open_timeout: float | None = attrs.field(validator=_open_timeout)
    connection: ConnectionOptions

    def deadline(self) -> float:
        return math.inf if self.open_timeout is None else trio.current_time() + self.open_timeout


@attrs.frozen(kw_only=True)
class Opened:
    """A stream that has become a WebSocket."""

    stream: trio.abc.Stream
    session: Session
    clock: Keepalive
    request: Request
    response: Response

    def connection(self) -> AbstractAsyncContextManager[WebSocketConnection]:
        """The connection on it, in a nursery of its own."""
        return open_connection(
            self.stream,
            self.session,
            clock=self.clock,
            request=self.request,
            response=self.response,
        )

    def start_in(self, nursery: trio.Nursery) -> WebSocketConnection:
        """The connection on it, in this nursery; raises RuntimeError if that is closed."""
        nursery.start_soon(self.clock.run_for, self.session.wait_closed)
        return start_connection(
            nursery,
            self.stream,
            self.session,
            request=self.request,
            response=self.response,
        )


async def open_stream(url: WebSocketURL, ssl_context: ssl.SSLContext | None, deadline: float) -> trio.abc.Stream:
    """TCP, and TLS if the URL says ``wss``.

    Raises:
        HandshakeError: It failed, or took longer than ``open_timeout``.
        ValueError: There is an SSL context, but the URL is not one for TLS.
    """
    if ssl_context is not None and not url.secure:
        raise ValueError("ssl_context is given, but the URL says ws://, which is not encrypted: use wss://")
    with trio.move_on_at(deadline):
        try:
            stream: trio.abc.Stream = await trio.open_tcp_stream(url.host, url.port)
        except OSError as exc:
            raise HandshakeError(f"cannot connect to {url.host} port {url.port}: {exc}") from exc
        if not url.secure:
            return stream
        try:
            return await start_tls(stream, ssl_context or _default_context(), server_side=False, host=url.host)
        except BaseException:  # cancellation too: the stream is ours until it is returned
            await Transport(stream).close()
            raise
    raise HandshakeTimeout(f"no connection to {url.host} port {url.port} within open_timeout")


def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()  # verifies the certificate and its name
    context.set_alpn_protocols(["http/1.1"])
    return context


async def shake_hands(stream: trio.abc.Stream, url: WebSocketURL, options: ClientOptions, deadline: float) -> Opened:
    """The opening handshake on a stream that is there. If it fails, the stream is closed.

    Raises:
        HandshakeError: It failed, or took longer than ``open_timeout``.
    """
    try:
        handshake = _request(url, options)
        with trio.move_on_at(deadline) as scope:
            response = await _exchange(stream, handshake, options.connection.read_limit)
        if scope.cancelled_caught:
            handshake.cut()
            raise HandshakeTimeout("the server did not answer the opening handshake within open_timeout")
    except BaseException:  # cancellation too: the stream is ours from the beginning
        await Transport(stream).close()
        raise
    clock = Keepalive(options.connection.ping_interval)
    return Opened(
        stream=stream,
        session=Session(
            stream, "client", options.connection, initial_data=handshake.rest, clock=clock, response=response
        ),
        clock=clock,
        request=handshake.request,
        response=response,
    )


def _request(url: WebSocketURL, options: ClientOptions) -> ClientHandshake:
    headers: HeadersLike = options.extra_headers
    if url.authorization is not None and "Authorization" not in options.extra_headers:
        headers = (*options.extra_headers.fields, ("Authorization", url.authorization))
    return ClientHandshake(
        host=url.host_header,
        target=url.target,
        subprotocols=options.subprotocols,
        headers=headers,
        user_agent=None if "User-Agent" in options.extra_headers else options.user_agent,
        origin=options.origin,
        compression=options.connection.compression,
    )


async def _exchange(stream: trio.abc.Stream, handshake: ClientHandshake, read_limit: int) -> Response:
    try:
        await stream.send_all(handshake.data)
    except _BROKEN as exc:
        raise RemoteHandshakeError("the server closed the connection before the request was sent") from exc
    while True:
        try:
            data = bytes(await stream.receive_some(read_limit))
        except _BROKEN as exc:
            handshake.cut()
            raise RemoteHandshakeError("the connection broke before the server answered") from exc
        response = handshake.feed(data)
        if response is not None:
            return response
