"""Bytes in, events out: one WebSocket connection after its opening handshake (RFC 6455 §5 to §7).

There are two lanes. Nearly every frame is a whole message, a ping or a pong, which means the same in whatever state
the connection is: those are decoded in the fast lane (``fast_lane.py``). So are fragments that are not compressed, as
long as nothing is wrong with any of them, and close frames with a usual code. Every other frame is wsproto's to judge
(``slow_lane.py``): compressed fragments, most frames whose header came in two reads, and whatever breaks the rules. It
gets the bytes of these frames and no others, and is not even made before the first of them. When it gets one in the
middle of a message, it is told what there has been of that, and gets the rest of it as well.

A message of 64 bytes takes wsproto 9 us to read and 2.5 us to make; the fast lane reads it in 1.1 us, or 0.2 with the C
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
from .fast_lane import MOST_EVENTS, FastLane
from .frames import BINARY, CLOSE, PING, PONG, RSV1, TEXT, make_frame, split
from .incoming import IncomingMessage
from .slow_lane import SlowLane

__all__ = ["Close", "Event", "Failure", "Piece", "Ping", "Pong", "Protocol", "Role", "check_close"]

#: A frame's header is at most this long, mask included (§5.2).
_MAX_HEADER = 14
#: What :meth:`Protocol.feed` returns at once, because more is too much for one turn of the event loop: bytes that were
#: inflated; and MOST_EVENTS.
_BATCH = 2**16
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
        "_fast",
        "_fragmenting",
        "_listening",
        "_masks",
        "_max_fragments",
        "_max_size",
        "_rest",
        "_slow",
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
        self.open: bool = True
        self._listening = True
        #: Whether :meth:`feed` has stopped before the end of what it was given, and is to be called again.
        self.pending: bool = False
        self._fast = FastLane(
            masked=not self._masks, max_size=self._max_size, max_fragments=max_fragments, deflate=deflate
        )
        self._rest: Iterator[Sequence[Event]] = iter(())
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
            fast = self._fast
            partial = fast.partial
            if partial is not None:
                if partial.kept is not None and len(data) <= partial.left:
                    if len(data) == partial.left:
                        fast.partial = None
                    return partial.keep(data)
            elif fast.message is None and (self._slow is None or not self._slow.mid_frame):
                found, end = split(data, 0, not self._masks, self._max_size, MOST_EVENTS)
                if not end and data:
                    try:
                        found, end = fast.take_one(data, 0) or ([], 0)
                    except _INVALID as exc:
                        return [self._failure(exc)]
                    if fast.closed:
                        self.open = self._listening = False
                        return found
                if end == len(data) and not fast.to_inflate:
                    return found
            elif fast.header:
                data, fast.header = fast.header + data, b""
            self._rest = self._events(data, end, found)
        self.pending = False
        self._fast.room = _BATCH
        received: list[Event] = []
        for batch in self._rest:
            received += batch
            if self._fast.room < 0 or len(received) >= MOST_EVENTS:
                self.pending = self._listening  # behind the end nothing is looked at
                break
        return received

    def stop(self) -> None:
        """Nothing more is read: let go of what is left to be looked at, which refers to this."""
        self.open = self._listening = self.pending = False
        self._rest = iter(())
        self._fast.partial = None

    @property
    def mid_frame(self) -> bool:
        """Whether the rest of a large frame has to come, so that more is probably there to be read."""
        return self._fast.partial is not None

    def so_far(self) -> Sequence[Piece]:
        """What there is of a message that :meth:`feed` would give as a whole; the rest will come in pieces, too."""
        return self._fast.so_far()

    def _events(self, data: bytes, start: int, messages: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """What there is in ``data`` from ``start`` on, behind these; made when it is asked for."""
        fast = self._fast
        if messages:
            yield messages
        try:
            while (start < len(data) or fast.to_inflate) and self._listening:
                if fast.to_inflate:
                    yield from fast.inflate_rest()
                elif fast.partial is not None:
                    part = memoryview(data)[start : start + fast.partial.left]
                    start += len(part)
                    yield from fast.go_on(fast.partial, part)
                elif not self._mid_slow_frame and (taken := fast.take(data, start)):
                    messages, start = taken
                    if fast.closed:
                        self.open = self._listening = False
                    if messages:
                        yield messages
                else:
                    if fast.message is not None and fast.message.plain:
                        fast.message.plain = False  # from here to its end it is wsproto's
                        self._slow_lane.go_on(fast.message)
                    start = self._slow_lane.take(data, start)
                    yield from self._judged()
        except _INVALID as exc:
            yield [self._failure(exc)]

    def _failure(self, error: InflateError | UnicodeDecodeError) -> Failure:
        self.open = self._listening = False
        return Failure(error.code if isinstance(error, InflateError) else CloseCode.INVALID_DATA, str(error))

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
        message = self._fast.message
        if message is None:
            text = isinstance(event, events.TextMessage)
            # Plain text wsproto has decoded.
            message = IncomingMessage(text=text and compressed is not None, compressed=compressed is not None)
            self._fast.message = message
        if compressed is not None:
            yield from self._fast.content(compressed, event.message_finished)
            return
        if event.message_finished:
            self._fast.message = None
        # bytes(): wsproto gives a bytearray now and then; for bytes it is the same object.
        data = event.data if isinstance(event.data, str) else bytes(event.data)
        yield [message.part(data, event.message_finished)]

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
            first, payload = BINARY, data
        else:
            try:
                first, payload = TEXT, data.encode()
            except UnicodeEncodeError as exc:
                raise not_utf8(data, "a text message") from exc
        if self._deflate is not None:
            compressed = self._deflate.deflate(payload, wanted=compress)
            if compressed is not None:
                first, payload = first | RSV1, compressed
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
        if self._deflate is None or not frame[0] & RSV1:
            return True
        return self._deflate.forget(others_follow=any(other[0] & RSV1 for other in behind))

    def ping(self, payload: bytes) -> bytes:
        return b"".join(make_frame(PING, payload, self._masks))

    def pong(self, payload: bytes) -> bytes:
        return b"".join(make_frame(PONG, payload, self._masks))

    def close(self, close: Close) -> bytes:
        """A close frame; at most one may be sent, as the first word or as the answer to the peer's (§5.5.1).

        :class:`Close` with code 1005 gives an empty frame, which is how a close without a code is answered.
        """
        self.open = False
        payload = b""
        if close.code != CloseCode.NO_STATUS_RECEIVED:
            payload = close.code.to_bytes(2) + close.reason.encode()
        return b"".join(make_frame(CLOSE, payload, self._masks))
