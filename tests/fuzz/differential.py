"""The same frames to us and to the sans-I/O core of ``websockets``: the same messages, and the same end.

Input: a byte of which side reads, then as in ``frames.py``. Both get one frame at a time, so that it is known
over which they differ. Every difference that there may be is in :data:`DIFFERENCES`, with the reason for ours.
"""

from __future__ import annotations

import codecs
import logging
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import attrs
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, SERVER
from websockets.protocol import Protocol as TheirProtocol

from tests.fuzz.frames import Conversation, feed, mask, read_conversation
from tests.fuzz.source import Source
from tests.raw import BINARY, CLOSE, CONTINUATION, TEXT
from trio_ws._wire.protocol import Close, Event, Failure, Piece, Ping, Pong, Protocol, Role

__all__ = ["compare", "fuzz_one"]

#: A frame that says it is longer is left incomplete; a shorter one is filled up, so that both have to judge it.
MAX_FILL = 20_000

_SILENT = logging.Logger("silent")
_SILENT.disabled = True


def fuzz_one(data: bytes) -> None:
    source = Source(data)
    role: Role = "client" if source.byte() & 1 else "server"
    compare(read_conversation(source.rest(), role))


def compare(conversation: Conversation) -> None:
    """Raise AssertionError if they make something else of it, and not for one of the reasons that there may be."""
    conversation = attrs.evolve(conversation, max_fragments=math.inf)  # they have no limit for that
    ours, theirs = Ours(conversation), Theirs(conversation)
    for frame in split(conversation.wire):
        compressed, room = theirs.state(frame)
        our_events, their_events = ours.feed(frame.data), theirs.feed(frame.data)
        failures: list[Event] = [event for event in our_events if isinstance(event, Failure)]
        if failures or not frame.whole:  # of which we give the pieces as they come, and they nothing
            our_events = failures
        if our_events != their_events:
            case = Case(frame, conversation, our_events, their_events, compressed, room, theirs.in_message, theirs)
            if not any(holds(case) for holds in DIFFERENCES):
                raise AssertionError(f"{frame}: we give {our_events}, they give {their_events}"[:2000])
            return
        if any(isinstance(event, (Close, Failure)) for event in our_events):
            return


# The wire, frame by frame


@attrs.frozen
class WireFrame:
    """One frame as its header has it."""

    data: bytes
    first: int
    masked: bool
    #: Bytes of the length field behind the second byte.
    extended: int
    size: int
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 15

    @property
    def fin(self) -> bool:
        return bool(self.first & 0x80)

    @property
    def whole(self) -> bool:
        return len(self.payload) == self.size

    @property
    def minimal(self) -> bool:
        return self.extended == (0 if self.size < 126 else 2 if self.size < 2**16 else 8)


def split(wire: bytes) -> Iterator[WireFrame]:
    """The frames; the last one is filled up with zeros."""
    position = 0
    while position < len(wire):
        head = wire[position : position + 14].ljust(14, b"\0")
        first, second = head[0], head[1]
        extended = {126: 2, 127: 8}.get(second & 127, 0)
        size = int.from_bytes(head[2 : 2 + extended]) if extended else second & 127
        start = 2 + extended + (4 if second & 128 else 0)
        key = head[2 + extended : start]
        data = wire[position : position + start + size]
        if len(data) < start + size <= MAX_FILL:
            data = data.ljust(start + size, b"\0")
        data = data.ljust(start, b"\0")
        yield WireFrame(data, first, bool(second & 128), extended, size, mask(data[start:], key))
        position += start + size


# The two


class Ours:
    def __init__(self, conversation: Conversation) -> None:
        self._protocol: Protocol = conversation.protocol()

    def feed(self, data: bytes) -> list[Event]:
        """Every message as pieces, one a frame: they know frames only."""
        events: list[Event] = []
        for event in feed(self._protocol, data):
            if isinstance(event, (str, bytes)):
                event = Piece(event, True)
            elif isinstance(event, Failure):
                event = Failure(event.code, "")
            if isinstance(event, Piece) and events and isinstance(events[-1], Piece):
                event = Piece(events.pop().data + event.data, event.finished)  # type: ignore[operator,union-attr]
            events.append(event)
        return events


class Theirs:
    """What ``websockets`` makes of it, in our events. That text is UTF-8 is checked above its core: here."""

    def __init__(self, conversation: Conversation) -> None:
        self._max_size = conversation.max_size
        self._protocol = TheirProtocol(
            SERVER if conversation.role == "server" else CLIENT,
            state=OPEN,
            max_size=conversation.max_size,
            logger=_SILENT,
        )
        self.deflate: _Deflate | None = None
        if agreed := conversation.deflate:
            self.deflate = _Deflate(agreed.their_afresh, agreed.our_afresh, max(9, agreed.their_bits), 15)
            self._protocol.extensions = [self.deflate]
        self._decoder: codecs.IncrementalDecoder | None = None
        self._compressed = False
        self._size = 0
        #: Whether a message is being received in fragments.
        self.in_message = False

    def state(self, frame: WireFrame) -> tuple[bool, int]:
        """Whether this frame is compressed, and the bytes that its message may still have."""
        first = frame.opcode in (TEXT, BINARY)
        compressed = bool(frame.first & 0x40) and self.deflate is not None if first else self._compressed
        return compressed, self._max_size - self._size if self.in_message else self._max_size

    def feed(self, data: bytes) -> list[Event]:
        self._protocol.receive_data(data)
        events: list[Event] = []
        for frame in self._protocol.events_received():
            assert isinstance(frame, TheirFrame)
            if not self._take(frame, events):
                return events
        if self._protocol.parser_exc is not None:
            assert self._protocol.close_sent is not None
            events.append(Failure(int(self._protocol.close_sent.code), ""))
        self._protocol.data_to_send()
        return events

    def _take(self, frame: TheirFrame, events: list[Event]) -> bool:
        data = bytes(frame.data)
        if frame.opcode is Opcode.PING:
            events.append(Ping(data))
        elif frame.opcode is Opcode.PONG:
            events.append(Pong(data))
        elif frame.opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            assert close is not None
            events.append(Close(int(close.code), close.reason))
        else:
            return self._take_data(frame, data, events)
        return True

    def _take_data(self, frame: TheirFrame, data: bytes, events: list[Event]) -> bool:
        if frame.opcode is not Opcode.CONT:
            self._decoder = codecs.getincrementaldecoder("utf-8")() if frame.opcode is Opcode.TEXT else None
            self._compressed = self.deflate is not None and self.deflate.compressed
            self._size = 0
        self._size += len(data)
        self.in_message = not frame.fin
        try:
            events.append(Piece(self._decoder.decode(data, frame.fin) if self._decoder else data, frame.fin))
        except UnicodeDecodeError:
            events.append(Failure(1007, ""))
            return False
        return True


class _Deflate(PerMessageDeflate):
    """Theirs, which also remembers what it has met."""

    compressed = False
    last_block = False
    empty_message = False
    _received = 0

    def decode(self, frame: TheirFrame, *, max_size: int | None = None) -> TheirFrame:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self.compressed = frame.rsv1
            self._received = 0
        first = frame.opcode in (Opcode.TEXT, Opcode.BINARY)
        if self.compressed and (first or (frame.opcode is Opcode.CONT and self.decode_cont_data)):
            fresh = first and self.remote_no_context_takeover
            probe = zlib.decompressobj(-self.remote_max_window_bits) if fresh else self.decoder.copy()
            with suppress(zlib.error):
                probe.decompress(bytes(frame.data) + b"\0\0\xff\xff", 2**20)
            self.last_block = self.last_block or probe.eof
            self._received += len(frame.data)
            self.empty_message = self.empty_message or (frame.fin and not self._received)
        return super().decode(frame, max_size=max_size)


# Where they may differ


@attrs.frozen
class Case:
    frame: WireFrame
    conversation: Conversation
    ours: list[Event]
    theirs: list[Event]
    compressed: bool
    room: int
    in_message: bool
    they: Theirs

    @property
    def our_code(self) -> int | None:
        return next((event.code for event in self.ours if isinstance(event, Failure)), None)

    @property
    def their_code(self) -> int | None:
        return next((event.code for event in self.theirs if isinstance(event, Failure)), None)

    @property
    def control(self) -> bool:
        return self.frame.opcode >= CLOSE

    @property
    def breaks_a_rule(self) -> bool:
        frame = self.frame
        rsv = frame.first >> 4 & 7
        allowed = 4 if self.conversation.deflate and frame.opcode in (TEXT, BINARY) else 0
        return (
            frame.opcode not in (*range(3), *range(8, 11))
            or frame.masked is not (self.conversation.role == "server")
            or bool(rsv & ~allowed)
            or (self.control and (not frame.fin or frame.size > 125))
            or not frame.minimal
            or frame.size >= 2**63
            or (not self.control and (frame.opcode == CONTINUATION) != self.in_message)
        )


def length_is_not_minimal(case: Case) -> bool:
    """RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length". They do not look."""
    return case.our_code == 1002 and not case.frame.minimal


def several_things_are_wrong(case: Case) -> bool:
    """A frame that is too big and breaks a rule as well, which both refuse. They ask for the size first, we last."""
    # How large compressed frames become, and count as, only their inflating tells.
    too_big = case.frame.size > case.room or case.conversation.deflate is not None
    return too_big and case.breaks_a_rule and {case.our_code, case.their_code} == {1002, 1009}


def control_frame_is_no_message(case: Case) -> bool:
    """They hold control frames to the limit for messages. RFC 6455 §5.5 has a limit for them, 125 bytes."""
    return case.control and case.their_code == 1009 and case.room < case.frame.size <= 125


def close_within_a_message(case: Case) -> bool:
    """RFC 6455 §5.4 lets control frames stand between fragments, §5.5 says that Close is one. They refuse it."""
    said = len(case.ours) == 1 and isinstance(case.ours[0], Close)
    return (
        case.frame.opcode == CLOSE and case.in_message and case.their_code == 1002 and (said or case.our_code == 1007)
    )


def close_with_two_faults(case: Case) -> bool:
    """A code that may not be sent and a reason that is no UTF-8: whichever is looked at first."""
    return case.frame.opcode == CLOSE and case.our_code == 1002 and case.their_code == 1007


def refused_before_it_is_whole(case: Case) -> bool:
    """We refuse a frame for its header, or for what has come of it (RFC 6455 §8.1). They wait for all of it."""
    reason = case.our_code in (1007, 1009) or (case.our_code == 1002 and case.breaks_a_rule)
    return not case.frame.whole and not case.theirs and reason


def compressed_data_is_broken(case: Case) -> bool:
    """RFC 7692 has no code for it. For us it is a message whose content is not what it says (1007), not a frame."""
    return case.compressed and case.our_code == 1007 and case.their_code == 1002


def compressed_message_is_incomplete(case: Case) -> bool:
    """A block whose end never comes. They give what there is, and take the next message for the rest of the block.

    Of a frame from 2044 bytes on, they take what follows from RFC 7692 §7.2.2 for more than there is room for.
    """
    return case.compressed and case.frame.fin and case.our_code == 1007 and case.their_code in (None, 1009)


def compressed_larger_than_the_limit(case: Case) -> bool:
    """They hold the compressed bytes to the limit too. What does not shrink grows a little, and is no larger for it."""
    return case.compressed and case.their_code == 1009 and case.frame.size > case.room


def at_the_limit(case: Case) -> bool:
    """zlib may have something left when a message has reached the limit, a byte of it or none.

    They do not ask which: a message of exactly the limit may be refused, one of more may be cut there.
    """
    got = [event.data for event in case.ours + case.theirs if isinstance(event, Piece)]
    sizes = [len(data if isinstance(data, bytes) else data.encode()) for data in got]
    # Of a text, its decoder may hold back the beginning of a character.
    reached = any(case.room - 3 <= size <= case.room for size in sizes)
    return case.compressed and 1009 in (case.our_code, case.their_code) and reached


def last_block(case: Case) -> bool:
    """RFC 7692 §7.2.3.4: a block may be the last of its stream, and another one follows. They drop that."""
    return case.they.deflate is not None and case.they.deflate.last_block


def compressed_message_of_no_bytes(case: Case) -> bool:
    """It should have one byte (RFC 7692 §7.2.3.6). For us it is empty; for them it breaks the next one."""
    return case.they.deflate is not None and case.they.deflate.empty_message


DIFFERENCES: list[Callable[[Case], bool]] = [
    length_is_not_minimal,
    several_things_are_wrong,
    control_frame_is_no_message,
    close_within_a_message,
    close_with_two_faults,
    refused_before_it_is_whole,
    compressed_data_is_broken,
    compressed_message_is_incomplete,
    compressed_larger_than_the_limit,
    at_the_limit,
    last_block,
    compressed_message_of_no_bytes,
]
