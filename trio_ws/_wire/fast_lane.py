"""The fast lane: frames that mean the same in whatever state a connection is (RFC 6455 §5.2 to §5.6).

They are whole messages, pings and pongs, the close frames of nearly all connections, and fragments that are not
compressed, as long as nothing is wrong with any of them. Whoever is asked about a frame and finds anything unusual
answers None, and the frame is wsproto's to judge; so nothing is refused here but what only content can tell, which is
UTF-8 and compressed data.

What makes it fast:

* :func:`~trio_ws._wire.frames.split` takes all whole plain messages of a read in one call, in C where that was built.
* Other frames are taken out of the read by their header, and unmasked as one slice. Only of a frame that has not come
  completely there is a value, a :class:`PartialFrame`, and of a message that has not, an :class:`IncomingMessage`.
* A binary message in one frame is put together in there, so that no pieces are passed on and joined elsewhere.
* A compressed message is inflated at once, without a generator, if that takes no more than one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .._values import CloseCode
from .deflate import PerMessageDeflate
from .events import Close, Event, Piece, Ping, Pong
from .frames import BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, mask, read_header, split
from .incoming import IncomingMessage
from .limits import most_on_the_wire
from .partial_frame import PartialFrame

__all__ = ["MOST_EVENTS", "FastLane"]

#: All but the last fragment of a message lack FIN, all but the first have opcode 0 (§5.4).
_FIRST = frozenset([TEXT & ~FIN, BINARY & ~FIN])
_FRAGMENTS = _FIRST | {0, FIN}
_DATA = frozenset([TEXT, BINARY])
_COMPRESSED = frozenset([TEXT | RSV1, BINARY | RSV1])
_CONTROL = frozenset([PING, PONG, CLOSE])
#: The first bytes of close frames, and the codes of which there is nothing to judge.
_USUAL_CODES = {
    b"": CloseCode.NO_STATUS_RECEIVED,
    CloseCode.NORMAL_CLOSURE.to_bytes(2): CloseCode.NORMAL_CLOSURE,
    CloseCode.GOING_AWAY.to_bytes(2): CloseCode.GOING_AWAY,
}

#: Messages that are taken at once: of empty ones, a read may hold ten thousand.
MOST_EVENTS = 1000
_MAX_CONTROL = 125


class FastLane:
    """What one side of an open connection receives; see :class:`~trio_ws._wire.protocol.Protocol` for the arguments.

    Args:
        masked: Whether frames have to be masked (§5.1): True for those of a client.

    Raises:
        InflateError, UnicodeDecodeError: From every method: the content of a message is not valid, or too large.
    """

    __slots__ = (
        "_deflate",
        "_masked",
        "_max_fragments",
        "_max_size",
        "closed",
        "header",
        "message",
        "partial",
        "room",
        "to_inflate",
    )

    def __init__(self, *, masked: bool, max_size: int, max_fragments: float, deflate: PerMessageDeflate | None) -> None:
        self._masked = masked
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._deflate = deflate
        #: The frame that is being received here.
        self.partial: PartialFrame | None = None
        #: The message that is being received, in either lane; none as long as all there is of it is kept in its frame.
        self.message: IncomingMessage | None = None
        #: The beginning of the header of its next fragment, if it is plain.
        self.header = b""
        #: Whether that message has come, compressed, and there is more of it than what has been inflated at once.
        self.to_inflate = False
        #: Whether a close frame has been taken: nothing behind it is to be looked at.
        self.closed = False
        #: Bytes that may be inflated in this turn.
        self.room = 0

    def so_far(self) -> Sequence[Piece]:
        """What is kept of a message; the rest will come in pieces, too."""
        if self.partial is None or self.partial.kept is None:
            return []
        content = self.partial.so_far()
        self.message = IncomingMessage(text=False, begun=content != b"")
        return [Piece(content, False)] if content else []

    def take(self, data: bytes, start: int) -> tuple[Sequence[Event], int] | None:
        """What the frames are that stand here, and where the next byte to look at is; None if wsproto is to judge."""
        if self.message is None:
            messages, end = split(data, start, self._masked, self._max_size, MOST_EVENTS)
            if messages:
                return messages, end
        return self.take_one(data, start)

    def take_one(self, data: bytes, start: int) -> tuple[Sequence[Event], int] | None:
        """The same for one frame that is not a whole plain message.

        Nothing yet is also an answer: the frame is a message that goes on behind what has come.
        """
        header = read_header(data, start, self._masked)
        if header is None:
            return None
        first, (payload, size) = data[start], header
        end = payload + size
        if first in _CONTROL and size <= _MAX_CONTROL and end <= len(data):
            event = self._control(first, self._payload(data, payload, end))
            return None if event is None else ([event], end)
        if first in _FRAGMENTS:
            return self._take_fragment(data, start, payload, size)
        if payload > len(data):
            return None  # a header in two reads is rare, but for those of fragments
        if self.message is not None or not self._may_be_taken(first, size):
            return None
        compressed = first & RSV1 != 0
        text = first | RSV1 == TEXT | RSV1
        if compressed and end <= len(data):
            return self._inflated_at_once(self._payload(data, payload, end), text), end
        kept = first == BINARY
        self.partial = PartialFrame(size, self._key(data, payload), kept=kept)
        if not kept:
            self.message = IncomingMessage(text=text, compressed=compressed)
        return [], payload

    def _control(self, first: int, content: bytes) -> Ping | Pong | Close | None:
        if first != CLOSE:
            return Ping(content) if first == PING else Pong(content)
        code = _USUAL_CODES.get(content[:2])
        if code is None:
            return None
        try:
            close = Close(code, content[2:].decode())
        except UnicodeDecodeError:
            return None
        self.closed = True
        return close

    def _take_fragment(self, data: bytes, start: int, payload: int, size: int) -> tuple[Sequence[Event], int] | None:
        """The same for a fragment, if this is its place and its message stays within the limits.

        A message in many fragments has some header in two reads. That alone is nothing for wsproto to judge, so what
        there is of it waits here.
        """
        first, message = data[start], self.message
        if first in _FIRST:
            if message is not None or size > self._max_size or payload > len(data):
                return None
            message = self.message = IncomingMessage(text=first | FIN == TEXT, plain=True)
        else:
            if message is None or not message.plain:
                return None
            if message.size + size > self._max_size or message.fragments >= self._max_fragments:
                return None
            if payload > len(data):
                self.header = data[start:]
                return [], len(data)
        message.size += size
        message.fragments += 1
        last, end = first & FIN != 0, payload + size
        if end > len(data):
            self.partial = PartialFrame(size, self._key(data, payload), last=last)
            return [], payload
        if last:
            self.message = None
        return [message.decoded(self._payload(data, payload, end), last)], end

    def _key(self, data: bytes, payload: int) -> bytes | None:
        return data[payload - 4 : payload] if self._masked else None

    def _payload(self, data: bytes, start: int, end: int) -> bytes:
        return mask(data[start:end], data[start - 4 : start]) if self._masked else data[start:end]

    def _may_be_taken(self, first: int, size: int) -> bool:
        """Whether a frame like this is a message within the limits. (No bytes at all are rare in compressed ones.)"""
        if self._deflate is not None and first in _COMPRESSED:
            return 0 < size <= most_on_the_wire(self._max_size, compressed=True)
        return first in _DATA and size <= self._max_size

    def _inflated_at_once(self, compressed: bytes, text: bool) -> Sequence[Event]:
        """A compressed message that has come as a whole. If it is large there is nothing yet, but more to inflate."""
        assert self._deflate is not None
        content = self._deflate.inflate_at_once(compressed)
        if content is not None:
            self.room -= len(content)
            return [content.decode() if text else content]
        self.message = IncomingMessage(text=text, compressed=True)
        self.to_inflate = True
        return []

    def go_on(self, frame: PartialFrame, part: memoryview) -> Iterable[Sequence[Event]]:
        """A part of the payload of the frame that is being received."""
        if len(part) == frame.left:
            self.partial = None
        if frame.kept is not None:
            return [frame.keep(part)]
        return self.content(bytes(frame.take(part)), frame.last and not frame.left)

    def inflate_rest(self) -> Iterator[Sequence[Event]]:
        """The message of which :attr:`to_inflate` says that there is more."""
        self.to_inflate = False
        return self.content(b"", True)

    def content(self, content: bytes, finished: bool) -> Iterator[Sequence[Event]]:
        """A part of the message, which may inflate to a large one; so each piece is inflated when it is asked for."""
        message = self.message
        assert message is not None
        if finished:
            self.message = None
        if not message.compressed:
            yield [message.decoded(content, finished)]
            return
        assert self._deflate is not None
        for inflated, last in self._deflate.inflate(content, last=finished):
            self.room -= len(inflated)
            yield [message.decoded(inflated, last)]
