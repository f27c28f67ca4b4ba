"""Frames from a peer, for both roles: how an input becomes the bytes of a conversation, and the rules for what is read.

Input: a byte of options, one of cuts, one of compression, and what the peer sends, as it is or as a sequence of

* a byte that says what frame: the opcode, whether it is the last of its message, whether and how it is compressed, and
  whether something is odd;
* for what is odd, a byte that says how: reserved bits, the mask, how the length is written, a length that lies;
* a byte of length, and the payload.

Most sequences make sense as far as their first odd frame, which random bytes with their lengths and masks do not.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from collections.abc import Iterable

import attrs

from tests.fuzz.budget import Budget
from tests.fuzz.source import Source, pieces
from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frames, torn
from trio_ws._options import Deflate
from trio_ws._wire.deflate import PerMessageDeflate
from trio_ws._wire.protocol import Close, Event, Failure, Piece, Ping, Pong, Protocol, Role

__all__ = ["Agreed", "Conversation", "check", "feed", "merge", "read_conversation"]

#: Measured, and half as much again. Steps: 60 where every byte is a read of its own, 45 for empty frames of two bytes.
#: Memory: a piece of one byte is an event of 100 bytes of heap, and here all of them are kept.
#: What is inflated comes on top: what it becomes, the chunks of the message that is being inflated, and zlib's window.
BUDGET = Budget(steps=400, steps_per_byte=90, memory=48 * 1024, memory_per_byte=150)
INFLATING = 96 * 1024

MAX_SIZES = (64, 1, 7, 125, 126, 1000, 4096, 70_000)
MAX_FRAGMENTS = (100, 1, 3, 1000)
OPCODES = (TEXT, BINARY, CONTINUATION, CONTINUATION, PING, PONG, CLOSE, None)
#: Bytes of a conversation; a few bytes of input may stand for a long payload.
MAX_WIRE = 2**16

#: What a peer may be told: protocol error, not UTF-8, too many fragments, too big (RFC 6455 §7.4.1).
FAILURES = {1002, 1007, 1008, 1009}
KEY = b"\x01\x02\x03\x04"


@attrs.frozen
class Agreed:
    """The parameters of permessage-deflate."""

    our_bits: int
    our_afresh: bool
    their_bits: int
    their_afresh: bool
    min_size: int

    def ours(self, max_size: int) -> PerMessageDeflate:
        return PerMessageDeflate(
            compress_bits=self.our_bits,
            compress_afresh=self.our_afresh,
            inflate_bits=self.their_bits,
            inflate_afresh=self.their_afresh,
            settings=Deflate(min_size=self.min_size),
            max_size=max_size,
        )


@attrs.frozen
class Conversation:
    """What a peer sends, and what is agreed with it."""

    role: Role  # ours
    max_size: int
    max_fragments: float
    shape: int
    wire: bytes
    deflate: Agreed | None

    def protocol(self) -> Protocol:
        deflate = self.deflate.ours(self.max_size) if self.deflate else None
        return Protocol(self.role, max_size=self.max_size, max_fragments=self.max_fragments, deflate=deflate)

    def peer(self) -> Protocol:
        """One of our own, which takes whatever we send."""
        role: Role = "client" if self.role == "server" else "server"
        # The largest window takes what was made for any.
        deflate = Agreed(15, False, 15, False, 0).ours(2**30) if self.deflate else None
        return Protocol(role, max_size=2**30, max_fragments=math.inf, deflate=deflate)


def read_conversation(data: bytes, role: Role) -> Conversation:
    source = Source(data)
    options, shape, deflate = source.byte(), source.byte(), read_deflate(source.byte())
    writer = Writer(source, masked=role == "server", deflate=deflate)
    return Conversation(
        role=role,
        max_size=MAX_SIZES[options >> 1 & 7],
        max_fragments=MAX_FRAGMENTS[options >> 4 & 3],
        shape=shape,
        wire=source.rest() if options & 1 else writer.frames(),
        deflate=deflate,
    )


def read_deflate(choice: int) -> Agreed | None:
    if not choice:
        return None
    return Agreed(
        our_bits=(15, 8, 9, 12)[choice >> 5 & 3],
        our_afresh=bool(choice & 8),
        their_bits=(15, 8, 9, 12)[choice & 3],
        their_afresh=bool(choice & 4),
        min_size=0 if choice & 16 else 64,
    )


# From the input to bytes of frames


class Writer:
    """The peer that sends what the input says."""

    def __init__(self, source: Source, *, masked: bool, deflate: Agreed | None) -> None:
        self._source = source
        self._masked = masked
        # zlib cannot compress for a window of 8 bits; a peer that agreed to that sends what it likes.
        self._bits = max(9, deflate.their_bits) if deflate else 15
        self._afresh = deflate is not None and deflate.their_afresh
        self._compressor = self._new_compressor()
        self._compressing = False

    def _new_compressor(self) -> zlib._Compress:
        return zlib.compressobj(wbits=-self._bits)

    def frames(self) -> bytes:
        wire = bytearray()
        while self._source and len(wire) < MAX_WIRE:
            wire += self._frame()
        return bytes(wire)

    def _frame(self) -> bytes:
        source = self._source
        what = source.byte()
        odd = source.byte() if what & 0x80 else 0
        opcode = OPCODES[what & 7]
        if opcode is None:
            opcode = source.byte() & 15
        fin = not what & 8
        payload, rsv = read_payload(source), odd & 7
        if opcode in (TEXT, BINARY):
            self._compressing = bool(what & 0x40)
            rsv ^= 4 if what & 0x60 else 0  # with 0x20, the input itself is taken for compressed
        if opcode <= BINARY and self._compressing:
            payload = self._compress(payload, fin, last_block=bool(what & 0x10))
        key = KEY if self._masked is not bool(odd & 8) else None
        if odd & 0x40 and key is not None:
            key = source.take(4).ljust(4, b"\0")
        size = len(payload)
        if odd & 0x80:  # a lie, of which the peer may never send the rest
            size = int.from_bytes(source.take(source.byte() & 7))
        first, second = fin << 7 | rsv << 4 | opcode, 0x80 if key is not None else 0
        return bytes([first]) + encode_length(second, size, odd >> 4 & 3) + (key or b"") + mask(payload, key)

    def _compress(self, payload: bytes, fin: bool, last_block: bool) -> bytes:
        data = self._compressor.compress(payload)
        data += self._compressor.flush(zlib.Z_FINISH if last_block else zlib.Z_SYNC_FLUSH)
        if last_block or (fin and self._afresh):
            self._compressor = self._new_compressor()
        return data.removesuffix(b"\x00\x00\xff\xff") if fin and not last_block else data


def read_payload(source: Source) -> bytes:
    size = source.byte()
    if size < 240:
        return source.take(size)
    return source.take(8) * (64 * (size - 239))


def encode_length(second: int, size: int, longer: int) -> bytes:
    """The length in its shortest form (RFC 6455 §5.2), or in one that is longer than it may be."""
    form = min(2, longer + (size > 125) + (size > 0xFFFF))
    if form == 0:
        return bytes([second | size])
    return struct.pack("!BH", second | 126, size) if form == 1 else struct.pack("!BQ", second | 127, size)


def mask(payload: bytes, key: bytes | None) -> bytes:
    if not key:
        return payload
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(len(payload))


# The rules


def check(data: bytes, role: Role) -> None:
    conversation = read_conversation(data, role)
    whole = receive(conversation, [conversation.wire])
    cut = receive(conversation, pieces(conversation.wire, conversation.shape))
    merged, part = merge(whole)
    merged_when_cut, part_when_cut = merge(cut)
    compressed = conversation.deflate is not None
    same = comparable(merged_when_cut, compressed=compressed) == comparable(merged, compressed=compressed)
    assert same, f"whole: {merged}, cut: {merged_when_cut}"[:2000]
    # How much of a message has come out when its rest turns out to be wrong, depends on the cuts.
    common = min(len(part), len(part_when_cut))
    assert not common or part[:common] == part_when_cut[:common]
    for event in merged:
        check_event(event, conversation.max_size)
    for rest in (part, part_when_cut):
        check_event(rest, conversation.max_size)


def receive(conversation: Conversation, data: Iterable[bytes]) -> list[Event]:
    protocol = conversation.protocol()
    events: list[Event] = []
    with BUDGET.spend(len(conversation.wire)) as bill:
        for piece in data:
            events += feed(protocol, piece)
        if conversation.deflate:
            bill.held = INFLATING + 4 * conversation.max_size + sum(map(size_of, events))
    ends = [index for index, event in enumerate(events) if isinstance(event, (Close, Failure))]
    assert ends in ([], [len(events) - 1]), "something came behind the end"
    check_state(protocol, conversation, events[-1] if ends else None)
    # A binary message of which a part has come is kept until it is whole.
    return events if ends else [*events, *protocol.so_far()]


def feed(protocol: Protocol, data: bytes) -> list[Event]:
    """All events of these bytes, also those of a read that inflates to more than is taken at once."""
    events = protocol.feed(data)
    while protocol.pending:
        events += protocol.feed(b"")
    return events


def size_of(event: Event) -> int:
    return sys.getsizeof(event.data if isinstance(event, Piece) else event)


def check_state(protocol: Protocol, conversation: Conversation, end: Event | None) -> None:
    """What may be sent now, is sent as whole frames of our role."""
    role = conversation.role
    if isinstance(end, (Close, Failure)):
        assert not protocol.open
        assert protocol.feed(b"\x81\x00" * 3) == []
        check_sent(protocol.close(Close(end.code)), role, CLOSE, b"" if end.code == 1005 else end.code.to_bytes(2))
    else:
        assert protocol.open
        check_sent(protocol.pong(b"?"), role, PONG, b"?")
        check_sent(protocol.message("é", compress=False), role, TEXT, "é".encode())
        messages: list[str | bytes] = ["x" * 100, b"", "", b"x" * 100]
        sent = b"".join(protocol.message(message) for message in messages)
        assert conversation.peer().feed(sent) == messages
        check_sent(protocol.close(Close(1000)), role, CLOSE, (1000).to_bytes(2))


def check_sent(data: bytes, role: Role, opcode: int, payload: bytes) -> None:
    assert list(frames(data)) == [Frame(opcode, payload, fin=True, masked=role == "client")]
    assert not torn(data)


def merge(events: Iterable[Event]) -> tuple[list[Event], str | bytes]:
    """The same with the pieces of each message put together, and what there is of one that was not finished."""
    merged: list[Event] = []
    part: str | bytes | None = None
    for event in events:
        if not isinstance(event, Piece):
            assert part is None or not isinstance(event, (str, bytes)), "a message inside a message"
            merged.append(event)
            continue
        assert part is None or type(part) is type(event.data), "text and binary in one message"
        part = event.data if part is None else part + event.data  # type: ignore[operator]
        if event.finished:
            merged.append(part)
            part = None
    return merged, part or b""


def comparable(events: list[Event], *, compressed: bool) -> list[Event]:
    def essence(event: Event) -> Event:
        if not isinstance(event, Failure):
            return event
        # A compressed frame may be wrong in several ways: its place, what it inflates to, and how much. Which is found
        # first depends on how much of it there is.
        if compressed and event.code != 1008:
            return Failure(0, "")
        # Python's text about what is not UTF-8 says where in the piece, not where in the message.
        return Failure(1007, "") if event.code == 1007 else event

    return [essence(event) for event in events]


def check_event(event: Event, max_size: int) -> None:
    if isinstance(event, str):
        assert len(event.encode()) <= max_size
    elif isinstance(event, bytes):
        assert len(event) <= max_size
    elif isinstance(event, (Ping, Pong)):
        assert len(event.payload) <= 125
    elif isinstance(event, Close):
        code, reason = event.code, event.reason
        assert 1000 <= code <= 1003 or code == 1005 or 1007 <= code <= 1014 or 3000 <= code <= 4999
        assert len(reason.encode()) <= 123
        assert code != 1005 or not reason
    else:
        assert isinstance(event, Failure)
        assert event.code in FAILURES
        assert event.reason
