"""One opening handshake, the server's side of it: read the request, then accept or reject it (RFC 6455 §4.2)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, suppress
from email.utils import formatdate

import trio

from .._connection.connection import WebSocketConnection, open_connection, start_connection
from .._connection.keepalive import Keepalive
from .._connection.session import Session
from .._connection.transport import Transport, linger, make_transport
from .._errors import (
    ConnectionRejected,
    HandshakeError,
    HandshakeTimeout,
    LocalHandshakeError,
    RemoteHandshakeError,
)
from .._options import Compression, ConnectionOptions, seconds
from .._values import HeadersLike, Request, Response
from .._wire.server_handshake import (
    RequestReader,
    accept_response,
    check_subprotocol_names,
    check_upgrade,
    choose_extensions,
    encode_response,
    offered_subprotocols,
)

__all__ = ["Upgrade", "deadline_from", "receive_upgrade", "unavailable"]


#: Seconds that a client gets at least to take an answer that the caller of :func:`receive_upgrade` took long to give.
_TO_TAKE_THE_ANSWER = 1

#: Seconds that a client which has been refused gets to read why when the server shuts down.
_GRACE = 0.5


def _endless(deadline: float, grace: float) -> trio.CancelScope:
    """The scope of somebody who never shuts down."""
    return trio.CancelScope(deadline=deadline)


class Upgrade:
    """A request to open a WebSocket, received but not answered yet; see :func:`receive_upgrade`."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        deadline: float,
        options: ConnectionOptions,
        request: Request | None = None,
        initial_data: bytes = b"",
        patience: Callable[[float, float], AbstractContextManager[trio.CancelScope]] = _endless,
    ) -> None:
        self._stream = stream
        self._transport = make_transport(stream)
        self._request = request
        self._rest = initial_data
        self._options = options
        #: Makes the scope in which we wait for the client until a deadline. A server that shuts down ends it after so
        #: many seconds.
        self._patience = patience
        self._answered = False
        self._accepted = False
        #: When the handshake has to be over.
        self._deadline = deadline

    @property
    def request(self) -> Request:
        """The client's request. It is well-formed HTTP, but not necessarily the upgrade to a WebSocket."""
        assert self._request is not None
        return self._request

    async def _read(self) -> None:
        """Read the request. One that is not well-formed is answered here."""
        if self._request is not None:
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        reader = RequestReader()
        cut_short = False
        try:
            # Often the request is there already, and then there is nothing to wait for, nor a scope to wait in.
            data = self._rest or self._transport.receive_nowait(self._options.read_limit)
            if data is None or not self._take(reader, data):
                with self._patience(self._deadline, 0) as scope:
                    await self._read_on(reader)
                cut_short = scope.cancelled_caught
        except ConnectionRejected as exc:
            await self.reject(exc.response)
            raise
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise RemoteHandshakeError("the connection broke before the request was complete") from exc
        if cut_short:
            await self._give_up(reader)

    async def _give_up(self, reader: RequestReader) -> None:
        """The request did not come before its deadline, or before a server shut down."""
        if trio.current_time() >= self._deadline:
            await self.reject(Response(408, "The request did not arrive in time.\n"))
            raise HandshakeTimeout("the request was not complete within open_timeout")
        if reader.empty:
            raise RemoteHandshakeError("the client had not sent anything when the server shut down")
        await self.reject(unavailable("The server is shutting down."))
        raise ConnectionRejected(unavailable("The server is shutting down."))

    async def _read_on(self, reader: RequestReader) -> None:
        while not self._take(reader, await self._transport.receive_some(self._options.read_limit)):
            pass

    def _take(self, reader: RequestReader, data: bytes) -> bool:
        """Take in bytes; return whether the request is complete."""
        if not data:
            raise RemoteHandshakeError("the client went away before its request was complete")
        self._request = reader.feed(data)
        self._rest = reader.rest
        return self._request is not None

    def accept(
        self, *, subprotocol: str | None = None, headers: HeadersLike = ()
    ) -> AbstractAsyncContextManager[WebSocketConnection]:
        """Accept the request; use as ``async with upgrade.accept() as ws``.

        Args:
            subprotocol: One of those that the client offers, or None.
            headers: Header fields to add to the answer.

        Raises:
            ConnectionRejected: The request is no valid upgrade to a WebSocket. The client has been told so.
            LocalHandshakeError: The subprotocol was not offered, or a header may not be sent.
            HandshakeTimeout: The answer could not be written within ``open_timeout``.
            HandshakeError: The stream broke.
        """
        return self._accept(subprotocol, headers)

    @asynccontextmanager
    async def _accept(self, subprotocol: str | None, headers: HeadersLike) -> AsyncIterator[WebSocketConnection]:
        try:
            key = check_upgrade(self.request)
            offered = offered_subprotocols(self.request)
            extensions = choose_extensions(self.request, self._options.compression)
        except ConnectionRejected as exc:
            await self.reject(exc.response)
            raise
        if subprotocol is not None:
            (subprotocol,) = check_subprotocol_names([subprotocol])
            if subprotocol not in offered:
                raise LocalHandshakeError(f"the client did not offer the subprotocol {subprotocol!r}")
        response = accept_response(key, subprotocol=subprotocol, extensions=extensions, headers=headers)
        # The time that the caller took to decide is not the client's fault.
        self._deadline = max(self._deadline, trio.current_time() + _TO_TAKE_THE_ANSWER)
        await self._switch(response)
        async with self._connection(response) as ws:
            yield ws

    async def _switch(self, response: Response, head: bytes | None = None) -> None:
        """Send this answer, which has status 101; from here on the stream is a WebSocket.

        Args:
            head: Its bytes, if they are known.
        """
        await self._send(head or encode_response(response), self._deadline)
        self._accepted = True

    def _connection(self, response: Response) -> AbstractAsyncContextManager[WebSocketConnection]:
        """The connection on a stream that has been switched. What was agreed stands in the response."""
        clock = Keepalive(self._options.ping_interval)
        session = self._session(response, clock)
        return open_connection(self._stream, session, clock=clock, request=self.request, response=response)

    def _start_in(self, nursery: trio.Nursery, clock: Keepalive, response: Response) -> WebSocketConnection:
        """The same in a nursery and with a clock that many connections share."""
        session = self._session(response, clock)
        return start_connection(nursery, self._stream, session, request=self.request, response=response)

    def _session(self, response: Response, clock: Keepalive) -> Session:
        return Session(self._stream, "server", self._options, initial_data=self._rest, clock=clock, response=response)

    async def reject(self, response: Response) -> None:
        """Answer with anything but 101, and close the stream when the client has read it.

        Raises:
            LocalHandshakeError: The response may not be sent, for example because of a line break in a header, or
                the request has been answered already.
            HandshakeError: The stream broke, or the client took nothing of the response for ``close_timeout`` seconds.
        """
        if response.status == 101:
            raise LocalHandshakeError("reject() with status 101: use accept()")
        head_only = self._request is not None and self._request.method == "HEAD"
        data = encode_response(response, head_only=head_only, date=formatdate(usegmt=True))
        await self._send(data, math.inf)
        with self._patience(math.inf, _GRACE):
            await linger(self._stream, self._options.read_limit)

    async def _send(self, data: bytes, deadline: float) -> None:
        if self._answered:
            raise LocalHandshakeError("this request has been answered already")
        self._answered = True
        transport = self._transport
        try:
            sent = transport.send_nowait(data)
            if sent == len(data):
                return  # so it is with nearly every answer: there is nothing to wait for, nor a scope to wait in
            rest = memoryview(data)[sent:]
            while rest:
                # A large page may take its time, as long as it goes on.
                with trio.move_on_at(min(deadline, deadline_from(self._options.close_timeout))) as scope:
                    sent, _ = await transport.send_some(rest)
                    rest = rest[sent:]
                if scope.cancelled_caught:
                    raise HandshakeTimeout("the client did not take the answer in time")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise HandshakeError("the connection broke before the request was answered") from exc

    async def _finish(self) -> None:
        """Answer if nobody did, and close the stream unless it has become a WebSocket."""
        try:
            if not self._answered and self._request is not None:
                with suppress(HandshakeError):
                    await self.reject(Response(500, "The server did not answer this request.\n"))
        finally:
            if not self._accepted:
                await Transport(self._stream).close()


def unavailable(text: str) -> Response:
    """A 503; the client may try again soon."""
    return Response(503, f"{text}\n", {"Retry-After": "5"})


def deadline_from(timeout: float | None) -> float:
    """When what begins now has to be over."""
    return math.inf if timeout is None else trio.current_time() + timeout


@asynccontextmanager
async def receive_upgrade(
    stream: trio.abc.Stream,
    *,
    request: Request | None = None,
    initial_data: bytes = b"",
    open_timeout: float | None = 10,
    compression: Compression = "deflate",
    max_size: int | None = 2**20,
    max_queue: int = 16,
    max_fragments: int | None = None,
    read_limit: int = 2**16,
    write_limit: int = 2**16,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
) -> AsyncIterator[Upgrade]:
    """Adopt a stream on which a client opens a WebSocket, and look at its request before answering it.

    Use it as ``async with receive_upgrade(stream) as upgrade``, look at ``upgrade.request``, then either
    ``async with upgrade.accept() as ws`` or ``await upgrade.reject(response)``, inside the block. A request that is
    not answered there gets a 500. The stream is closed when the block is left. No hook and no check of the Origin
    runs here: both are :func:`wrap_server_stream`'s.

    Args:
        stream: Any Trio stream. It is ours from here on, unless an argument makes no sense.
        request: The request, if the caller has read it already.
        initial_data: Bytes read from the stream already: behind the request if one is given, else its beginning.
        open_timeout: Seconds for the request to arrive and for the answer to be written. The time that the caller
            takes in between is not limited.
        compression: As all the other arguments, as in :func:`serve_websocket`.

    Raises:
        ConnectionRejected: The request is not well-formed HTTP. The client has been told so.
        HandshakeTimeout: The request did not arrive in time; the client got a 408.
        RemoteHandshakeError: The client went away before its request was complete.

    Cancellation: closes the stream at once.
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
    upgrade = Upgrade(
        stream,
        request=request,
        initial_data=initial_data,
        deadline=deadline_from(seconds(open_timeout, "open_timeout")),
        options=options,
    )
    try:
        await upgrade._read()
        yield upgrade
    finally:
        await upgrade._finish()
