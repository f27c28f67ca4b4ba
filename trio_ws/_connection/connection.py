"""What the user holds: :class:`WebSocketConnection`, and the scope that one lives in."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, final

import attrs
import trio

from .._errors import LocalProtocolError
from .._values import CloseCode, CloseReason, Request, Response
from .._wire.protocol import Close, check_close
from .fragments import FragmentChannel, FragmentedMessage
from .keepalive import Keepalive
from .nursery import open_background_nursery
from .session import Session

__all__ = ["ConnectionStatistics", "WebSocketConnection", "open_connection", "session_of", "start_connection"]


#: How a block is left, and by which exceptions.
_NORMAL, _FAILED = Close(CloseCode.NORMAL_CLOSURE), Close(CloseCode.INTERNAL_ERROR)
_GOING = Close(CloseCode.GOING_AWAY)


@attrs.frozen(kw_only=True)
class ConnectionStatistics:
    """One moment of a connection; see :meth:`WebSocketConnection.statistics`."""

    #: Whole messages handed to the stream, and received from it (those still in the queue included).
    messages_sent: int
    messages_received: int
    #: Bytes of data frames written, and bytes of all frames read.
    bytes_sent: int
    bytes_received: int
    #: Messages that wait to be received; never more than ``max_queue``.
    queued_messages: int
    #: Bytes of whole frames that wait to be written; never more than ``write_limit`` and a few control frames.
    held_bytes: int


@final
class WebSocketConnection(trio.abc.Channel["str | bytes"]):
    """One open WebSocket connection: a Trio channel of messages, ``str`` for text and ``bytes`` for binary.

    You get one from :func:`~trio_ws.open_websocket`, as the argument of your server's handler, and from the
    ``wrap_...`` functions; there is no other way to make one.

    Several tasks may send and several may receive at the same time; each message goes to one of them.

    Leaving ``async with ws`` closes with code 1000, leaving it by an exception with 1011, and by cancellation
    with 1001 without waiting for the peer.
    """

    __slots__ = (
        "__weakref__",
        "_addresses",
        "_request",
        "_response",
        "_session",
        "_streaming",
    )

    def __init__(
        self,
        session: Session,
        *,
        request: Request,
        response: Response,
        addresses: tuple[Any, Any],
    ) -> None:
        self._session = session
        self._request = request
        self._response = response
        self._addresses = addresses
        self._streaming = False

    def __repr__(self) -> str:
        state = "open" if self.close_reason is None else f"closed: {self.close_reason}"
        return f"<WebSocketConnection {self.id} {self._session.role} {state}>"

    # Messages

    async def send(self, message: str | bytes | bytearray | memoryview, *, compress: bool = True) -> None:
        """Send one message; return when the stream has taken it.

        If another task is writing just now, up to ``write_limit`` bytes are left for that task to send along, and
        this returns at once. So it does while more of what came together with the message received last waits to be
        received: the replies go out in one write, at the next turn of the scheduler at the latest.

        Args:
            message: ``str`` becomes a text message, anything else a binary one (RFC 6455 §5.6).
            compress: False sends it as it is where compression was agreed on (RFC 7692 §6): what does not shrink, such
                as a picture, or a secret beside text that an attacker chooses.

        Raises:
            LocalProtocolError: The message is of another type, or text that UTF-8 cannot encode. Nothing was sent.
            ConnectionClosed: A close frame was sent or received, or the stream failed. While the closing handshake
                is still under way, the reason in it has only the half that is known.

        Cancellation: while it waits for its turn, and on a plain socket also while that takes nothing, nothing was
            sent and the connection stays usable, unless another compressed message has been left behind this one, which
            may refer to it. When it is cancelled while the frame is being written, the connection is aborted, because
            half a frame cannot be taken back and nothing can be sent behind it.
        """
        if not isinstance(message, (str, bytes)):
            message = _payload(message)
        await self._session.sender.send(message, compress=compress)

    async def receive(self) -> str | bytes:
        """Wait for the next message.

        What had been read before the connection closed is still received after it closed, as long as nobody called
        :meth:`aclose`, which keeps no more than what is in the queue.

        A message that is there already is returned after a check for cancellation, without giving other tasks a
        turn; every 64 messages they get one.

        Raises:
            ConnectionClosed: The connection is closed, and nothing more will come.

        Cancellation: loses no message.
        """
        return await self._session.reader.receive()

    async def __anext__(self) -> str | bytes:
        # Trio's own would go through receive(): one coroutine more for each message, 0.1 us.
        try:
            return await self._session.reader.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def send_fragments(
        self,
        fragments: Iterable[str | bytes | bytearray | memoryview] | AsyncIterable[str | bytes | bytearray | memoryview],
        *,
        compress: bool = True,
    ) -> None:
        """Send one message in fragments, each as soon as the iterable gives it (RFC 6455 §5.4).

        Other tasks' messages wait until this one is complete; pings and the closing handshake do not. An iterable
        that gives nothing sends nothing.

        Args:
            fragments: All text or all binary; an iterable or an async iterable.
            compress: As in :meth:`send`.

        Raises:
            LocalProtocolError: The first fragment is neither text nor binary, or a later one is of another kind.
            ConnectionClosed: As in :meth:`send`.

        Cancellation: as in :meth:`send`, except that a fragment whose turn has come cannot be left out any more: then
            the connection is aborted, even if nothing of it was written. If this ends by cancellation or by an
            exception after the first fragment, the message can never be completed, and the connection is closed
            with 1011.
        """
        if isinstance(fragments, (str, bytes, bytearray, memoryview)):
            raise LocalProtocolError("send_fragments() takes an iterable of fragments; use send() for one message")
        async with FragmentedMessage(self._session, compress=compress) as message:
            if isinstance(fragments, AsyncIterable):
                async for fragment in fragments:
                    await message.send(_payload(fragment))
            else:
                for fragment in fragments:
                    await message.send(_payload(fragment))

    def receive_fragments(self) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[str | bytes]]:
        """Receive one message in pieces, as they arrive.

        ``async with ws.receive_fragments() as pieces`` waits for a message to begin. ``pieces`` is a channel that ends
        with the message. The pieces need not be the peer's fragments: a message that arrived whole is one piece, a
        large frame is several. Leaving the block early drops the rest of the message. ``max_size`` holds for the
        message as a whole.

        Raises:
            LocalProtocolError: Another task is receiving a message in pieces.
            ConnectionClosed: On entering, the connection is closed. From ``pieces``, the connection was closed in the
                middle of the message: always a :exc:`ConnectionClosedError`, so that a message cut short is never
                taken for a whole one.

        Cancellation: while waiting for a message to begin, loses nothing.
        """
        return self._receive_fragments()

    @asynccontextmanager
    async def _receive_fragments(self) -> AsyncIterator[trio.abc.ReceiveChannel[str | bytes]]:
        if self._streaming:
            raise LocalProtocolError("another task is in receive_fragments() of this connection")
        self._streaming = True
        try:
            assembly, source = await self._session.reader.claim()
            async with FragmentChannel(self._session, assembly, source) as pieces:
                yield pieces
        finally:
            self._streaming = False

    # Pings

    async def ping(self) -> float:
        """Send a ping and wait for its pong (RFC 6455 §5.5.2).

        Returns:
            Seconds from sending the one to receiving the other.

        Raises:
            ConnectionClosed: The connection is closed, or closes before the pong comes.

        Cancellation: the ping has been sent, its answer is of no interest; the connection stays usable.
        """
        return await self._session.ping()

    # Closing

    async def aclose(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection: closing handshake, then the stream (RFC 6455 §7.1.2).

        Returns within ``close_timeout`` seconds, whatever the peer does and whatever is queued unread. Messages that
        are in the queue can still be received, later ones are dropped. On a connection that is closed or closing
        already, it waits for the end of that, and the code is ignored.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 §7.4).
            reason: Text for the peer's log, at most 123 bytes in UTF-8, no control characters.

        Raises:
            LocalProtocolError: Such a code or reason may not be sent. Nothing was sent.

        Cancellation: the stream is closed at once.
        """
        check_close(code, reason)
        await self._session.aclose(Close(code, reason))

    async def wait_closed(self) -> CloseReason:
        """Wait until the connection is closed, by whichever side, and return why.

        Cancellation: has no effect on the connection.
        """
        return await self._session.wait_closed()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self._session.aclose(_NORMAL)
        elif isinstance(error, Exception):
            await self._session.aclose(_FAILED)
        else:
            # Cancelled, KeyboardInterrupt and their like mean now (law 7).
            self._session.leave_now(_GOING)

    # What is known about it

    @property
    def request(self) -> Request:
        """The request that opened this connection."""
        return self._request

    @property
    def response(self) -> Response:
        """The answer to it, with status 101."""
        return self._response

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was negotiated, or None (RFC 6455 §1.9)."""
        return self._response.headers.get("Sec-WebSocket-Protocol")

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection closed, or None while it has not."""
        return self._session.closing.reason

    @property
    def latency(self) -> float | None:
        """Seconds between the last answered ping, ours or the keepalive's, and its pong; None before the first."""
        return self._session.pings.latency

    @property
    def id(self) -> str:
        """A short random name, which is in every log line about this connection."""
        return self._session.id

    @property
    def local_address(self) -> Any:
        """Our socket's address as :mod:`socket` gives it, or None if the stream is not on a socket."""
        return self._addresses[0]

    @property
    def remote_address(self) -> Any:
        """The peer's socket's address as :mod:`socket` gives it, or None if the stream is not on a socket."""
        return self._addresses[1]

    def statistics(self) -> ConnectionStatistics:
        """How much went through this connection, and how much waits in it."""
        session = self._session
        return ConnectionStatistics(
            messages_sent=session.sender.messages_sent,
            messages_received=session.reader.messages_received,
            bytes_sent=session.sender.bytes_sent,
            bytes_received=session.reader.bytes_received,
            queued_messages=session.inbox.depth,
            held_bytes=session.writer.held,
        )


def _payload(message: object) -> str | bytes:
    """The payload of a message the caller wants to send.

    Only these types, because another one's memory might hold more than its owner means to show.
    """
    if isinstance(message, (str, bytes)):
        return message
    if isinstance(message, (bytearray, memoryview)):
        return bytes(message)
    raise LocalProtocolError(
        f"a message is str (text) or bytes, bytearray or memoryview (binary), not {type(message).__name__}"
    )


def _addresses(stream: trio.abc.Stream) -> tuple[Any, Any]:
    while not isinstance(stream, trio.SocketStream):
        if not isinstance(stream, trio.SSLStream):
            return None, None
        stream = stream.transport_stream
    try:
        return stream.socket.getsockname(), stream.socket.getpeername()
    except OSError:
        return None, None  # it is broken already, which the first read will tell


def session_of(ws: WebSocketConnection) -> Session:
    """What is behind a connection, for the rooms of this package."""
    return ws._session


def start_connection(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    session: Session,
    *,
    request: Request,
    response: Response,
) -> WebSocketConnection:
    """Start the connection's reader in ``nursery``; from here on it owns the stream."""
    session.start(nursery)
    return WebSocketConnection(session, request=request, response=response, addresses=_addresses(stream))


@asynccontextmanager
async def open_connection(
    stream: trio.abc.Stream,
    session: Session,
    *,
    clock: Keepalive,
    request: Request,
    response: Response,
) -> AsyncIterator[WebSocketConnection]:
    """A connection in a nursery of its own, closed when the block is left. Its clock runs there, too."""
    async with open_background_nursery() as nursery:
        nursery.start_soon(clock.run)
        async with start_connection(nursery, stream, session, request=request, response=response) as ws:
            yield ws
