"""Bytes in, events out: one WebSocket connection after its opening handshake (RFC 6455 §5 to §7).

There are two lanes. Nearly every frame is a whole message, a ping or a pong, which means the same in whatever state
the connection is: the fast lane decodes it right here, with the arithmetic of ``frames.py``. So it does with fragments
that are not compressed, as long as nothing is wrong with any of them. Every other frame is wsproto's to judge
(``slow_lane.py``): close frames, compressed fragments, frames whose header came in two reads, and whatever breaks the
rules. It gets the bytes of these frames and no others, and is not even made before the first of them. When it gets one
in the middle of a message, it is first told what there has been of that, and then gets the rest of it as well.

A message of 64 bytes takes wsproto 9 us to read and 2.5 us to make; the fast lane reads it in 1.2 us, or 0.3 with the C
extension, and makes it in 0.3. (``python -m benchmarks.tricks`` prints the figures of this and the neighbouring files.)

What has not come completely is a value of its own: a frame in ``partial_frame.py``, a message in ``incoming.py``.

Nothing here owns a socket, a clock or a task; :meth:`Protocol.feed` is synchronous and ignorant of who reads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from wsproto import events

from .._values import CloseCode
from .deflate import InflateError, PerMessageDeflate
from .events import Close, Event, Failure, Piece, Ping, Pong, Role, check_close, not_utf8
from .frames import make_frame, mask, read_header, split
from .incoming import IncomingMessage
from .limits import most_on_the_wire
from .partial_frame import PartialFrame
from .slow_lane import SlowLane

__all__ = ["Close", "Event", "Failure", "Piece", "Ping", "Pong", "Protocol", "Role", "check_close"]

# First bytes of frames (§5.2): FIN, the reserved bits, the opcode.
_TEXT, _BINARY, _PING, _PONG = 0x81, 0x82, 0x89, 0x8A
#: All but the last fragment of a message lack FIN, all but the first have opcode 0 (§5.4).
_FIN, _FIRST_OF_TEXT, _FIRST_OF_BINARY, _MIDDLE, _LAST = 0x80, 0x01, 0x02, 0x00, 0x80
_FIRST = frozenset([_FIRST_OF_TEXT, _FIRST_OF_BINARY])
_FRAGMENTS = frozenset([_FIRST_OF_TEXT, _FIRST_OF_BINARY, _MIDDLE, _LAST])
#: The bit that marks a compressed message (RFC 7692 §6).
_RSV1 = 0x40
_DATA = frozenset([_TEXT, _BINARY])
_COMPRESSED = frozenset([_TEXT | _RSV1, _BINARY | _RSV1])

#: A frame's header is at most this long, mask included (§5.2).
_MAX_HEADER = 14
#: What :meth:`Protocol.feed` returns at once: bytes that were inflated, and events (of empty messages, a read may hold
#: ten thousand, which is too much for one turn of the event loop).
_BATCH = 2**16
_MOST_EVENTS = 1000
_MAX_CONTROL = 125
#: What is wrong with a message's content.
_INVALID = (InflateError, UnicodeDecodeError)


class Protocol:
    """One side of an open connection.

    Args:
        role: A client masks what it sends and refuses masked frames, a server the other way round (§5.1).
        max_size: Bytes in one message; None for no limit.
        max_fragments: Frames in one message, empty ones counted.
        deflate: This connection's compression, if the handshake agreed on it.
    """

    __slots__ = (
        "_deflate",
        "_fragmenting",
        "_header",
        "_listening",
        "_masks",
        "_max_fragments",
        "_max_size",
        "_message",
        "_partial",
        "_rest",
        "_room",
        "_slow",
        "_to_inflate",
        "open",
        "pending",
    )

    def __init__(
        self, role: Role, *, max_size: int | None, max_fragments: float, deflate: PerMessageDeflate | None = None
    ) -> None:
        self._masks = role == "client"
        self._max_size = sys.maxsize if max_size is None else max_size
        self._max_fragments = max_fragments
        self._deflate = deflate
        self._slow: SlowLane | None = None
        #: Whether data and pings may be sent: neither side has sent a close frame, and the peer kept the rules.
        self.open = True
        self._listening = True
        #: Whether :meth:`feed` has stopped before the end of what it was given, and is to be called again.
        self.pending = False
        self._rest: Iterator[Sequence[Event]] = iter(())
        self._room = 0
        #: The frame that is being received, if it is in the fast lane.
        self._partial: PartialFrame | None = None
        #: The message that is being received, in either lane; none as long as all there is of it is kept in its frame.
        self._message: IncomingMessage | None = None
        #: The beginning of the header of its next fragment, if it is plain.
        self._header = b""
        #: Whether that message has come, compressed, and there is more of it than what has been inflated at once.
        self._to_inflate = False
        #: Whether we are in the middle of sending a message in fragments.
        self._fragmenting = False

    # Receiving, turn by turn

    def feed(self, data: bytes) -> Sequence[Event]:
        """Take bytes from the peer; return what they complete, in order.

        A read may hold thousands of events, and compressed messages may inflate to a thousand times their size. When
        there is enough for one turn, it is returned and :attr:`pending` is set; then ``feed(b"")`` goes on.

        A :class:`Close` or a :class:`Failure` is the last event: what comes behind it is not looked at
        (§5.5.1 forbids the peer to send more; after a failure nothing it sends can be trusted).
        """
        if not self._listening:
            return []
        assert not (self.pending and data)
        if not self.pending:
            found: Sequence[Event] = []
            end = 0
            # Of most reads nothing is left behind these lines: they are whole messages, a single frame, or a part of a
            # large one. What is asked for here is asked for each of them; so there are no calls that could be spared.
            partial = self._partial
            if partial is not None:
                if partial.kept is not None and len(data) <= partial.left:
                    if len(data) == partial.left:
                        self._partial = None
                    return partial.keep(data)
            elif self._message is None and (self._slow is None or not self._slow.mid_frame):
                found, end = split(data, 0, not self._masks, self._max_size, _MOST_EVENTS)
                if not end and data:
                    try:
                        found, end = self._take_one(data, 0) or ([], 0)
                    except _INVALID as exc:
                        return [self._failure(exc)]
                if end == len(data) and not self._to_inflate:
                    return found
            elif self._header:
                data, self._header = self._header + data, b""
            self._rest = self._events(data, end, found)
        self.pending = False
        self._room = _BATCH
        received: list[Event] = []
        for batch in self._rest:
            received += batch
            if self._room < 0 or len(received) >= _MOST_EVENTS:
                self.pending = self._listening  # behind the end nothing is looked at
                break
        return received

    def stop(self) -> None:
        """Nothing more is read: let go of what is left to be looked at, which refers to this."""
        self.open = self._listening = self.pending = False
        self._rest = iter(())
        self._partial = None

    @property
    def mid_frame(self) -> bool:
        """Whether the rest of a large frame has to come, so that more is probably there to be read."""
        return self._partial is not None

    def so_far(self) -> Sequence[Piece]:
        """What there is of a message that :meth:`feed` would give as a whole; the rest will come in pieces, too."""
        if self._partial is None or self._partial.kept is None:
            return []
        content = self._partial.so_far()
        self._message = IncomingMessage(text=False, begun=content != b"")
        return [Piece(content, False)] if content else []

    def _events(self, data: bytes, start: int, messages: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """What there is in ``data`` from ``start`` on, behind these; made when it is asked for."""
        if messages:
            yield messages
        try:
            while (start < len(data) or self._to_inflate) and self._listening:
                if self._to_inflate:
                    self._to_inflate = False
                    yield from self._content(b"", True)
                elif (frame := self._partial) is not None:
                    part = memoryview(data)[start : start + frame.left]
                    start += len(part)
                    if len(part) == frame.left:
                        self._partial = None
                    if frame.kept is not None:
                        yield frame.keep(part)
                    else:
                        yield from self._content(bytes(frame.take(part)), frame.last and not frame.left)
                elif not self._mid_slow_frame and (taken := self._take(data, start)):
                    messages, start = taken
                    if messages:
                        yield messages
                else:
                    if self._message is not None and self._message.plain:
                        self._message.plain = False
                        self._slow_lane.go_on(self._message)
                    start = self._slow_lane.take(data, start)
                    yield from self._judged()
        except _INVALID as exc:
            yield [self._failure(exc)]

    def _failure(self, error: InflateError | UnicodeDecodeError) -> Failure:
        self.open = self._listening = False
        return Failure(error.code if isinstance(error, InflateError) else CloseCode.INVALID_DATA, str(error))

    # The fast lane

    def _take(self, data: bytes, start: int) -> tuple[Sequence[Event], int] | None:
        """What the frames are that stand here, and where the next byte to look at is; None if wsproto is to judge."""
        if self._message is None:
            messages, end = split(data, start, not self._masks, self._max_size, _MOST_EVENTS)
            if messages:
                return messages, end
        return self._take_one(data, start)

    def _take_one(self, data: bytes, start: int) -> tuple[Sequence[Event], int] | None:
        """The same for one frame that is not a whole plain message.

        Nothing yet is also an answer: the frame is a message that goes on behind what has come.
        """
        header = read_header(data, start, not self._masks)
        if header is None:
            return None
        first, (payload, size) = data[start], header
        if first in _FRAGMENTS:
            return self._take_fragment(data, start, payload, size)
        if payload > len(data):
            return None
        end = payload + size
        if first in (_PING, _PONG) and size <= _MAX_CONTROL and end <= len(data):
            content = self._payload(data, payload, end)
            return [Ping(content) if first == _PING else Pong(content)], end
        if self._message is not None or not self._may_be_taken(first, size):
            return None
        compressed = first & _RSV1 != 0
        text = first | _RSV1 == _TEXT | _RSV1
        if compressed and end <= len(data):
            return self._inflated_at_once(self._payload(data, payload, end), text), end
        kept = first == _BINARY
        self._partial = PartialFrame(size, self._key(data, payload), kept=kept)
        if not kept:
            self._message = IncomingMessage(text=text, compressed=compressed)
        return [], payload

    def _take_fragment(self, data: bytes, start: int, payload: int, size: int) -> tuple[Sequence[Event], int] | None:
        """The same for a fragment, if this is its place and its message stays within the limits.

        A message in many fragments has some header in two reads. That alone is nothing for wsproto to judge, so what
        there is of it waits here.
        """
        first, message = data[start], self._message
        if first in _FIRST:
            if message is not None or size > self._max_size or payload > len(data):
                return None
            message = self._message = IncomingMessage(text=first == _FIRST_OF_TEXT, plain=True)
        else:
            if message is None or not message.plain:
                return None
            if message.size + size > self._max_size or message.fragments >= self._max_fragments:
                return None
            if payload > len(data):
                self._header = data[start:]
                return [], len(data)
        message.size += size
        message.fragments += 1
        last, end = first & _FIN != 0, payload + size
        if end > len(data):
            self._partial = PartialFrame(size, self._key(data, payload), last=last)
            return [], payload
        if last:
            self._message = None
        return [message.decoded(self._payload(data, payload, end), last)], end

    def _key(self, data: bytes, payload: int) -> bytes | None:
        return None if self._masks else data[payload - 4 : payload]

    def _payload(self, data: bytes, start: int, end: int) -> bytes:
        return data[start:end] if self._masks else mask(data[start:end], data[start - 4 : start])

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
            self._room -= len(content)
            return [content.decode() if text else content]
        self._message = IncomingMessage(text=text, compressed=True)
        self._to_inflate = True
        return []

    def _content(self, content: bytes, finished: bool) -> Iterator[Sequence[Event]]:
        """A part of the message, which may inflate to a large one; so each piece is inflated when it is asked for."""
        message = self._message
        assert message is not None
        if finished:
            self._message = None
        if not message.compressed:
            yield [message.decoded(content, finished)]
            return
        assert self._deflate is not None
        for inflated, last in self._deflate.inflate(content, last=finished):
            self._room -= len(inflated)
            yield [message.decoded(inflated, last)]

    # The slow lane

    @property
    def _slow_lane(self) -> SlowLane:
        if self._slow is None:
            self._slow = SlowLane(
                "client" if self._masks else "server",
                max_size=None if self._max_size == sys.maxsize else self._max_size,
                max_fragments=self._max_fragments,
                deflate=self._deflate,
            )
        return self._slow

    @property
    def _mid_slow_frame(self) -> bool:
        return self._slow is not None and self._slow.mid_frame

    def _judged(self) -> Iterator[Sequence[Event]]:
        for event in self._slow_lane.events():
            if isinstance(event, events.Message):
                yield from self._judged_content(event)
            else:
                if not isinstance(event, (Ping, Pong)):
                    self.open = self._listening = False
                yield [event]

    def _judged_content(self, event: events.Message[Any]) -> Iterator[Sequence[Event]]:
        """A part of a message: as it is, or, of a compressed one, what ``deflate`` has put aside."""
        compressed = None if self._deflate is None else self._deflate.take()
        if self._message is None:
            text = isinstance(event, events.TextMessage)
            # Plain text wsproto has decoded.
            self._message = IncomingMessage(text=text and compressed is not None, compressed=compressed is not None)
        if compressed is None:
            # bytes(): wsproto gives a bytearray now and then; for bytes it is the same object.
            data = event.data if isinstance(event.data, str) else bytes(event.data)
            message = self._message
            if event.message_finished:
                self._message = None
            yield [message.part(data, event.message_finished)]
        else:
            yield from self._content(compressed, event.message_finished)

    # Sending

    def parts(self, data: str | bytes, *, finished: bool = True, compress: bool = True) -> tuple[bytes, bytes]:
        """A data frame: a whole message, or with ``finished=False`` a fragment that others follow (§5.4).

        Args:
            compress: Whether the message may be compressed. Its first frame decides.

        Returns:
            Two parts to be written one behind the other, so that a large payload need not be copied.
        """
        if self._fragmenting or not finished:
            if self._deflate is not None:
                self._deflate.wanted = compress
            frame = self._slow_lane.fragment(data, finished=finished)
            self._fragmenting = not finished
            return frame, b""
        if isinstance(data, bytes):
            first, payload = _BINARY, data
        else:
            try:
                first, payload = _TEXT, data.encode()
            except UnicodeEncodeError as exc:
                raise not_utf8(data, "a text message") from exc
        if self._deflate is not None:
            compressed = self._deflate.deflate(payload, wanted=compress)
            if compressed is not None:
                first, payload = first | _RSV1, compressed
        return make_frame(first, payload, self._masks)

    def message(self, data: str | bytes, *, finished: bool = True, compress: bool = True) -> bytes:
        """The same in one part."""
        return b"".join(self.parts(data, finished=finished, compress=compress))

    def frame_size(self, payload: int) -> int:
        """How long a data frame with so many bytes of payload may become."""
        # What zlib cannot compress it stores, in blocks of 127 bytes or more (at mem_level 1), with 5 more for each.
        return payload + _MAX_HEADER + (0 if self._deflate is None else payload // 16 + 16)

    def forget(self, frame: bytes, behind: Iterable[bytes]) -> bool:
        """This frame, a whole message, will not be sent: whether the connection can go on without it.

        Args:
            frame: What :meth:`message` returned, or the first of :meth:`parts`.
            behind: The frames that have been made since.
        """
        if self._deflate is None or not frame[0] & _RSV1:
            return True
        return self._deflate.forget(others_follow=any(other[0] & _RSV1 for other in behind))

    def ping(self, payload: bytes) -> bytes:
        return b"".join(make_frame(_PING, payload, self._masks))

    def pong(self, payload: bytes) -> bytes:
        return b"".join(make_frame(_PONG, payload, self._masks))

    def close(self, close: Close) -> bytes:
        """A close frame; at most one may be sent, as the first word or as the answer to the peer's (§5.5.1).

        :class:`Close` with code 1005 gives an empty frame, which is how a close without a code is answered.
        """
        self.open = False
        return self._slow_lane.close(close)
