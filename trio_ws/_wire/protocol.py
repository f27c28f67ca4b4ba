"""Bytes in, events out: one WebSocket connection after its opening handshake (RFC 6455 §5 to §7).

The state machine is wsproto's. What this adds: limits that hold from a frame's header, whole messages told
from pieces, one close frame and no more, and a peer that broke the protocol is not listened to any longer.
It owns no socket, no clock and no task; :meth:`Protocol.feed` is synchronous and ignorant of who reads.
"""

from __future__ import annotations

import math
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import attrs
from wsproto import events
from wsproto.connection import Connection, ConnectionState, ConnectionType

from .._errors import LocalProtocolError
from .._values import CloseCode, quote
from .deflate import InflateError, PerMessageDeflate
from .limits import FrameGuard

__all__ = ["Close", "Event", "Failure", "Piece", "Ping", "Pong", "Protocol", "Role", "check_close"]

_UTF8Decoder = getincrementaldecoder("utf-8")

Role: TypeAlias = Literal["client", "server"]


@attrs.frozen
class Piece:
    """A part of a message that did not arrive in one frame and one read."""

    data: str | bytes
    finished: bool


@attrs.frozen
class Ping:
    payload: bytes


@attrs.frozen
class Pong:
    payload: bytes


@attrs.frozen
class Close:
    """A close frame: the peer's, or ours. Code 1005 stands for a frame without a code (RFC 6455 §7.1.5)."""

    code: int = attrs.field(converter=int)
    reason: str = ""


@attrs.frozen
class Failure:
    """The peer broke the protocol or a limit: the connection has to be failed with this code (RFC 6455 §7.1.7)."""

    code: int
    reason: str


#: A whole message is its plain ``str`` or ``bytes``; everything rarer has a class.
Event: TypeAlias = "str | bytes | Piece | Ping | Pong | Close | Failure"

#: The bit of a frame's first byte that marks a compressed message (RFC 7692 §6).
_RSV1 = 0x40
#: A frame's header is at most this long, mask included (§5.2).
_MAX_HEADER = 14
#: Bytes of payload that are returned at once when compressed messages come.
_BATCH = 2**16
#: A close frame's payload is at most 125 bytes, two of them the code (RFC 6455 §5.5).
_MAX_REASON = 123


def _may_be_sent(code: int) -> bool:
    """RFC 6455 §7.4.2 and the IANA registry: 1004 to 1006 and 1015 to 2999 never stand in a frame."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def check_close(code: object, reason: object) -> None:
    """Raise :exc:`LocalProtocolError` unless a close frame may carry this code and reason."""
    if isinstance(code, bool) or not isinstance(code, int) or not _may_be_sent(code):
        raise LocalProtocolError(
            f"close code {code!r} may not be sent; use 1000 to 1003, 1007 to 1014, or your own from 3000 to 4999"
        )
    if not isinstance(reason, str):
        raise LocalProtocolError(f"a close reason is a str, not {type(reason).__name__}")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in reason):
        raise LocalProtocolError(f"a close reason may not contain control characters: {quote(reason)}")
    try:
        size = len(reason.encode())
    except UnicodeEncodeError as exc:
        raise _not_utf8(reason, "a close reason") from exc
    if size > _MAX_REASON:
        raise LocalProtocolError(f"a close reason is at most {_MAX_REASON} bytes of UTF-8, not {size}: {quote(reason)}")


def _not_utf8(text: str, what: str) -> LocalProtocolError:
    return LocalProtocolError(f"{what} must be encodable as UTF-8 (RFC 6455 §5.6), {quote(text)} is not")


class Protocol:
    """One side of an open connection.

    Args:
        role: A client masks what it sends and refuses masked frames, a server the other way round (§5.1).
        max_size: Bytes in one message; None for no limit.
        max_fragments: Frames in one message, empty ones counted.
        deflate: This connection's compression, if the handshake agreed on it.
    """

    def __init__(
        self, role: Role, *, max_size: int | None, max_fragments: float, deflate: PerMessageDeflate | None = None
    ) -> None:
        self._guard = FrameGuard(math.inf if max_size is None else max_size, max_fragments, compression=bool(deflate))
        self._deflate = deflate
        kind = ConnectionType.CLIENT if role == "client" else ConnectionType.SERVER
        self._wsproto = Connection(kind, [self._guard] if deflate is None else [self._guard, deflate])
        self._listening = True
        self._in_message = False
        #: Whether :meth:`feed` has stopped before the end of what it was given, and is to be called again.
        self.pending = False
        self._rest: Iterator[Event] = iter(())
        #: Of the compressed text that is being received.
        self._decoder: IncrementalDecoder | None = None

    @property
    def open(self) -> bool:
        """Whether data and pings may be sent: neither side has sent a close frame, and the peer kept the rules."""
        return self._wsproto.state is ConnectionState.OPEN and self._listening

    # Receiving

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; return what they complete, in order.

        Compressed messages may inflate to a thousand times what was read. When more than :data:`_BATCH` bytes have
        come of it, they are returned and :attr:`pending` is set; then ``feed(b"")`` goes on.

        A :class:`Close` or a :class:`Failure` is the last event: what comes behind it is not looked at
        (§5.5.1 forbids the peer to send more; after a failure nothing it sends can be trusted).
        """
        if not self._listening:
            return []
        self._wsproto.receive_data(data)
        if self._deflate is None:
            return list(self._events())
        if not self.pending:
            self._rest = self._events()
        self.pending = False
        received: list[Event] = []
        room = _BATCH
        for event in self._rest:
            received.append(event)
            if isinstance(event, Piece):
                event = event.data
            if isinstance(event, (str, bytes)):
                room -= len(event)
            if room < 0:
                self.pending = True
                break
        return received

    def stop(self) -> None:
        """Nothing more is read: let go of what is left to be inflated, which refers to this."""
        self._listening = self.pending = False
        self._rest = iter(())

    def _events(self) -> Iterator[Event]:
        """What there is to say of the bytes that wsproto has; messages are inflated when they are asked for."""
        for event in self._wsproto.events():
            compressed = None if self._deflate is None else self._deflate.take()
            if compressed is not None and isinstance(event, events.Message):
                yield from self._inflated(event, compressed)
                if not self._listening:
                    return
            else:
                yield self._event(event)

    def _event(self, event: events.Event) -> Event:
        if isinstance(event, events.Message):
            # bytes(): wsproto gives a bytearray now and then; for bytes it is the same object.
            data = event.data if isinstance(event.data, str) else bytes(event.data)
            return self._message(data, event.message_finished)
        if isinstance(event, events.Ping):
            return Ping(bytes(event.payload))
        if isinstance(event, events.Pong):
            return Pong(bytes(event.payload))
        assert isinstance(event, events.CloseConnection)
        self._listening = False
        return self._close_or_failure(event)

    def _message(self, data: str | bytes, finished: bool) -> str | bytes | Piece:
        whole = finished and not self._in_message
        self._in_message = not finished
        return data if whole else Piece(data, finished)

    def _inflated(self, event: events.Message[Any], compressed: bytes) -> Iterator[Event]:
        """The content of a compressed frame, or of the part of one that has come."""
        assert self._deflate is not None
        if not self._in_message:
            self._decoder = _UTF8Decoder() if isinstance(event, events.TextMessage) else None
        last = event.message_finished
        try:
            chunk = b""
            for following in self._deflate.inflate(compressed, last=last):
                if chunk:
                    yield self._message(self._decoded(chunk), False)
                chunk = following
            yield self._message(self._decoded(chunk, last), last)
        except InflateError as exc:
            self._listening = False
            yield Failure(exc.code, str(exc))
        except UnicodeDecodeError as exc:
            self._listening = False
            yield Failure(CloseCode.INVALID_DATA, str(exc))

    def _decoded(self, chunk: bytes, last: bool = False) -> str | bytes:
        return chunk if self._decoder is None else self._decoder.decode(chunk, last)

    def _close_or_failure(self, event: events.CloseConnection) -> Close | Failure:
        reason = event.reason or ""
        # wsproto reports a peer that broke the rules as a close too, and leaves its state as it was. The
        # check for that can go when it raises (python-hyper/wsproto pull request 100).
        if self._wsproto.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            return Close(CloseCode.BAD_GATEWAY if self._guard.bad_gateway else event.code, reason)
        return Failure(int(event.code), self._guard.problem or reason)

    # Sending: each returns the bytes of one whole frame

    def message(self, data: str | bytes, *, finished: bool = True, compress: bool = True) -> bytes:
        """A data frame: a whole message, or with ``finished=False`` a fragment that others follow (§5.4).

        Args:
            compress: Whether the message may be compressed. Its first frame decides.
        """
        if self._deflate is not None:
            self._deflate.wanted = compress
        if isinstance(data, bytes):
            return bytes(self._wsproto.send(events.BytesMessage(data=data, message_finished=finished)))
        try:
            return bytes(self._wsproto.send(events.TextMessage(data=data, message_finished=finished)))
        except UnicodeEncodeError as exc:
            raise _not_utf8(data, "a text message") from exc

    def frame_size(self, payload: int) -> int:
        """How long a data frame with so many bytes of payload may become."""
        # What zlib cannot compress it stores, in blocks of 127 bytes or more (at mem_level 1), with 5 more for each.
        return payload + _MAX_HEADER + (0 if self._deflate is None else payload // 16 + 16)

    def forget(self, frame: bytes, behind: Iterable[bytes]) -> bool:
        """This frame, a whole message, will not be sent: whether the connection can go on without it.

        Args:
            frame: What :meth:`message` returned.
            behind: The frames that have been made since.
        """
        if self._deflate is None or not frame[0] & _RSV1:
            return True
        return self._deflate.forget(others_follow=any(other[0] & _RSV1 for other in behind))

    def ping(self, payload: bytes) -> bytes:
        return bytes(self._wsproto.send(events.Ping(payload=payload)))

    def pong(self, payload: bytes) -> bytes:
        return bytes(self._wsproto.send(events.Pong(payload=payload)))

    def close(self, close: Close) -> bytes:
        """A close frame; at most one may be sent, as the first word or as the answer to the peer's (§5.5.1).

        :class:`Close` with code 1005 gives an empty frame, which is how a close without a code is answered.
        """
        code = None if close.code == CloseCode.NO_STATUS_RECEIVED else close.code
        # The signature wants a code, but None is wsproto's own way to say "an empty close frame".
        event = events.CloseConnection(code=code, reason=close.reason or None)  # type: ignore[arg-type]
        return bytes(self._wsproto.send(event))
