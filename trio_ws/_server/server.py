"""A running server: accepting, one task for each connection, and the end of it all.

Two nurseries, one in the other. The listeners' scope can be cancelled without the handlers, so that accepting stops
first; the handlers' nursery has the shutdown deadline as its own, so that whatever a handler waits for, it ends.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, TypeAlias, final

import attrs
import trio

from .._connection.connection import WebSocketConnection, session_of
from .._connection.keepalive import Keepalive
from .._connection.tls import start_tls
from .._connection.transport import Transport
from .._errors import ConnectionClosed, ConnectionRejected, HandshakeError, HandshakeTimeout
from .._options import ConnectionOptions, HandshakeOptions
from .._values import CloseCode, Response
from .._wire.protocol import Close, check_close
from .accepting import accept_clients
from .negotiation import negotiate
from .upgrade import Upgrade, deadline_from, unavailable

__all__ = ["Handler", "HandlerErrors", "ServerOptions", "ServerStatistics", "WebSocketServer"]

#: What a server runs for each connection.
Handler: TypeAlias = Callable[[WebSocketConnection], Awaitable[object]]
#: What happens when a handler raises.
HandlerErrors: TypeAlias = Literal["log", "raise"]

_log = logging.getLogger("trio_ws.server")

#: Seconds that a client which comes during a shutdown gets to send its request, and to read why it is refused.
_GRACE = 0.5


@attrs.frozen(kw_only=True)
class ServerOptions:
    """What a server needs to know besides its listeners."""

    handler: Handler
    handler_errors: HandlerErrors = attrs.field(validator=attrs.validators.in_(("log", "raise")))
    ssl_context: ssl.SSLContext | None
    max_connections: int | None
    open_timeout: float | None
    shutdown_timeout: float | None
    handshake: HandshakeOptions
    connection: ConnectionOptions


@attrs.frozen(kw_only=True)
class ServerStatistics:
    """One moment of a server; see :meth:`WebSocketServer.statistics`."""

    #: Connections that are open now.
    open_connections: int
    #: Clients whose handshake is not over yet.
    handshakes_in_progress: int
    #: Since the server began: handshakes answered with 101, and requests that ended in any other way, those that a hook
    #: answered among them.
    accepted: int
    refused: int
    #: Handlers that ended by an exception of their own.
    handlers_failed: int
    shutting_down: bool


class _UntilShutdown:
    """A scope that is among those that wait while it is entered.

    A class and not a generator, which would cost every client more objects and calls.
    """

    __slots__ = ("_grace", "_scope", "_waiting")

    def __init__(self, scope: trio.CancelScope, waiting: dict[trio.CancelScope, float], grace: float) -> None:
        self._scope = scope
        self._waiting = waiting
        self._grace = grace

    def __enter__(self) -> trio.CancelScope:
        self._waiting[self._scope] = self._grace
        return self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        del self._waiting[self._scope]
        return self._scope.__exit__(kind, error, traceback)


@final
class WebSocketServer:
    """A server that is running; from :func:`open_websocket_server` or ``nursery.start(serve_websocket, ...)``."""

    def __init__(self, listeners: Sequence[trio.abc.Listener[Any]], options: ServerOptions) -> None:
        self._listeners = listeners
        self._addresses = tuple(
            listener.socket.getsockname() for listener in listeners if isinstance(listener, trio.SocketListener)
        )
        self._options = options
        self._clock = Keepalive(options.connection.ping_interval)
        self._connections: set[WebSocketConnection] = set()
        self._waiting: dict[trio.CancelScope, float] = {}
        self._accepting = trio.CancelScope()
        self._handling = trio.CancelScope()
        self._goodbye: tuple[int, str] | None = None
        self._closed = trio.Event()
        self._admitted = self._handshakes = self._accepted = self._refused = self._failed = 0

    # What is known about it

    @property
    def addresses(self) -> tuple[Any, ...]:
        """The addresses it listens on, as :mod:`socket` gives them; listeners that are no sockets are left out."""
        return self._addresses

    @property
    def port(self) -> int:
        """The TCP port it listens on, of the first listener if there are several.

        Raises:
            RuntimeError: None of its listeners is on a TCP port.
        """
        for address in self._addresses:
            if isinstance(address, tuple):
                return int(address[1])
        raise RuntimeError("this server does not listen on a TCP port")

    @property
    def connections(self) -> frozenset[WebSocketConnection]:
        """The connections that are open, at this moment."""
        return frozenset(self._connections)

    def statistics(self) -> ServerStatistics:
        """How many connections there are and have been."""
        return ServerStatistics(
            open_connections=len(self._connections),
            handshakes_in_progress=self._handshakes,
            accepted=self._accepted,
            refused=self._refused,
            handlers_failed=self._failed,
            shutting_down=self._goodbye is not None,
        )

    # Its end

    def shutdown(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> None:
        """Begin to shut down; does not wait, see :meth:`wait_closed`.

        The server stops accepting; handshakes in progress get a 503; every connection gets a close frame. What
        clients sent before they saw that still reaches the handlers, whose ``async for`` then ends (with another code
        than 1001 or 1000 it raises :exc:`ConnectionClosedError`). Nothing more can be sent: a handler that has to
        finish something without its client goes on receiving, and does not mind what ``send`` raises. Handlers that are
        not done ``shutdown_timeout`` seconds from now are cancelled. Calling it again changes nothing.

        Args:
            code: The close code for every connection.
            reason: The reason that goes with it.

        Raises:
            LocalProtocolError: Such a code or reason may not be sent.
        """
        check_close(code, reason)
        if self._goodbye is not None:
            return
        self._goodbye = (code, reason)
        _log.info("shutting down: %d connections are open", len(self._connections))
        self._accepting.cancel()
        for scope, grace in self._waiting.items():
            scope.deadline = min(scope.deadline, trio.current_time() + grace)
        for ws in self._connections:
            session_of(ws).say_goodbye(Close(code, reason))
        if self._options.shutdown_timeout is not None:
            self._handling.deadline = trio.current_time() + self._options.shutdown_timeout

    def cancel(self) -> None:
        """End at once: cancel every handler. Each client still gets a 1001 where that costs no waiting."""
        self.shutdown()
        self._handling.cancel()

    async def wait_closed(self) -> None:
        """Wait until the server has shut down and the last handler has ended.

        Cancellation: has no effect on the server.
        """
        await self._closed.wait()

    async def aclose(self) -> None:
        """Shut down, and wait until that is done.

        Cancellation: ends the server at once, as :meth:`cancel` does.
        """
        self.shutdown()
        try:
            await self.wait_closed()
        except BaseException:  # Cancelled or KeyboardInterrupt: closed also when aclose() is cancelled
            self.cancel()
            raise

    # Its life

    async def _run(self) -> None:
        """Accept and serve until shut down, or cancelled."""
        try:
            async with trio.open_nursery() as clock:
                clock.start_soon(self._clock.run)
                with self._handling:
                    async with trio.open_nursery() as handlers:
                        serve = partial(self._serve_stream, handlers)
                        with self._accepting:
                            async with trio.open_nursery() as accepting:
                                for listener in self._listeners:
                                    accepting.start_soon(accept_clients, listener, handlers, serve)
                clock.cancel_scope.cancel()
        finally:
            self._closed.set()

    async def _serve_stream(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
        """One client, from the accepted stream to the end. Nothing that the client does is raised here (law 6).

        Args:
            nursery: For the connection's tasks; that of this one too. A nursery for each connection would cost time in
                every opening handshake, and memory for as long as it is open.
        """
        ws = await self._open(nursery, stream)
        if ws is None:
            return
        try:
            async with ws:
                await self._serve_connection(ws)
        finally:
            self._admitted -= 1

    async def _open(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> WebSocketConnection | None:
        """The opening handshake. If it comes to nothing the stream is closed."""
        admitted = False

        def admit() -> None:
            nonlocal admitted
            if self._goodbye is not None:
                raise ConnectionRejected(unavailable("The server is shutting down."))
            if self._options.max_connections is not None and self._admitted >= self._options.max_connections:
                raise ConnectionRejected(unavailable("The server is full."))
            admitted = True
            self._admitted += 1

        self._handshakes += 1
        try:
            upgrade, response = await self._shake_hands(stream, admit)
            ws = upgrade._start_in(nursery, self._clock, response)
        except BaseException as exc:  # cancellation too: the stream is ours from the beginning
            self._admitted -= admitted
            await Transport(stream).close()
            if not isinstance(exc, HandshakeError):
                raise
            self._refused += 1
            _log_refusal(exc)
            return None
        finally:
            self._handshakes -= 1
        self._accepted += 1
        return ws

    async def _shake_hands(self, stream: trio.abc.Stream, admit: Callable[[], None]) -> tuple[Upgrade, Response]:
        """TLS, request and answer, all within ``open_timeout``; a shutdown cuts the waiting short."""
        options = self._options
        deadline = deadline_from(options.open_timeout)
        if options.ssl_context is not None:
            stream = await self._start_tls(stream, options.ssl_context, deadline)
        upgrade = Upgrade(stream, deadline=deadline, options=options.connection, patience=self._until_shutdown)
        await upgrade._read()
        return upgrade, await negotiate(upgrade, options.handshake, admit)

    async def _start_tls(self, stream: trio.abc.Stream, context: ssl.SSLContext, deadline: float) -> trio.abc.Stream:
        with trio.move_on_at(deadline), self._until_shutdown(deadline, 0):
            return await start_tls(stream, context, server_side=True)
        if trio.current_time() < deadline:
            raise HandshakeError("the server shut down during the TLS handshake")
        raise HandshakeTimeout("the TLS handshake was not complete within open_timeout")

    def _until_shutdown(self, deadline: float, grace: float) -> _UntilShutdown:
        """A scope in which we wait for a client until a deadline, and that a shutdown ends after ``grace`` seconds."""
        if self._goodbye is not None:
            # This client came when the shutdown had begun; what it has sent should get its 503.
            deadline = min(deadline, trio.current_time() + _GRACE)
        return _UntilShutdown(trio.CancelScope(deadline=deadline), self._waiting, grace)

    async def _serve_connection(self, ws: WebSocketConnection) -> None:
        self._connections.add(ws)
        if self._goodbye is not None:
            session_of(ws).say_goodbye(Close(*self._goodbye))
        try:
            await self._options.handler(ws)
        except BaseException as exc:  # what is not the handler's failure goes on upwards below
            failure, rest = _split(exc, ws)
        else:
            return
        finally:
            self._connections.discard(ws)
        if failure is not None:
            await self._handler_failed(ws, failure)
        if rest is not None:
            raise rest

    async def _handler_failed(self, ws: WebSocketConnection, failure: Exception) -> None:
        self._failed += 1
        if self._options.handler_errors == "raise":
            raise failure
        _log.error("%s handler failed", ws.id, exc_info=failure)
        await ws.aclose(CloseCode.INTERNAL_ERROR)


def _log_refusal(error: HandshakeError) -> None:
    """One line for a client that did not become a connection; a page or a health check is nothing to note."""
    if isinstance(error, ConnectionRejected) and error.response.status < 400:
        _log.debug("request answered with %s", error.response.describe())
    else:
        _log.info("handshake failed: %s", error)


def _split(error: BaseException, ws: WebSocketConnection) -> tuple[Exception | None, BaseException | None]:
    """What of a handler's exception is a failure of the handler, and what is to go on upwards (Cancelled and the like).

    That its own connection closed under it is neither, also when several of its tasks heard of it.
    """
    session = session_of(ws)
    failure, rest = _partition(error, lambda exc: isinstance(exc, Exception))
    if failure is not None:
        _, failure = _partition(failure, lambda exc: isinstance(exc, ConnectionClosed) and session.closing.is_end(exc))
    assert failure is None or isinstance(failure, Exception)
    return failure, rest


def _partition(
    error: BaseException, belongs: Callable[[BaseException], bool]
) -> tuple[BaseException | None, BaseException | None]:
    if isinstance(error, BaseExceptionGroup):
        return error.split(belongs)
    return (error, None) if belongs(error) else (None, error)
