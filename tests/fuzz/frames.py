"""Frames from a peer, for both roles: how an input becomes the bytes of a conversation, and the rules for what is read.

Input: a byte of options, one of cuts, one of compression, and what the peer sends, as it is or as a sequence of

* a byte that says what frame: the opcode, whether it is the last of its message, and whether something is odd;
* for what is odd, a byte that says how: reserved bits, the mask, how the length is written, a length that lies;
* a byte of length, and the payload.

Most sequences make sense as far as their first odd frame, which random bytes with their lengths and masks do not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import attrs

from tests.fuzz.budget import Budget
from tests.fuzz.source import Source, pieces
from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frames, torn
from trio_ws._wire.protocol import Close, Event, Failure, Piece, Ping, Pong, Protocol, Role

__all__ = ["Conversation", "check", "merge", "read_conversation"]

#: Measured, and half as much again. Steps: 60 where every byte is a read of its own, 45 for empty frames of two bytes.
#: Memory: a piece of one byte is an event of 100 bytes of heap, and here all of them are kept.
BUDGET = Budget(steps=400, steps_per_byte=90, memory=24 * 1024, memory_per_byte=150)

MAX_SIZES = (64, 1, 7, 125, 126, 1000, 4096, 70_000)
MAX_FRAGMENTS = (100, 1, 3, 1000)
OPCODES = (TEXT, BINARY, CONTINUATION, CONTINUATION, PING, PONG, CLOSE, None)
#: Bytes of a conversation; a few bytes of input may stand for a long payload.
MAX_WIRE = 2**16

#: What a peer may be told: protocol error, not UTF-8, too many fragments, too big (RFC 6455 §7.4.1).
FAILURES = {1002, 1007, 1008, 1009}
KEY = b"\x01\x02\x03\x04"


@attrs.frozen
class Conversation:
    """What a peer sends, and what is agreed with it."""

    role: Role  # ours
    max_size: int
    max_fragments: int
    shape: int
    wire: bytes

    def protocol(self) -> Protocol:
        return Protocol(self.role, max_size=self.max_size, max_fragments=self.max_fragments)


def read_conversation(data: bytes, role: Role) -> Conversation:
    source = Source(data)
    options, shape, _ = source.byte(), source.byte(), source.byte()
    wire = source.rest() if options & 1 else written(source, masked=role == "server")
    return Conversation(
        role=role,
        max_size=MAX_SIZES[options >> 1 & 7],
        max_fragments=MAX_FRAGMENTS[options >> 4 & 3],
        shape=shape,
        wire=wire,
    )


# From the input to bytes of frames


def written(source: Source, *, masked: bool) -> bytes:
    wire = bytearray()
    while source and len(wire) < MAX_WIRE:
        wire += one_frame(source, masked=masked)
    return bytes(wire)


def one_frame(source: Source, *, masked: bool) -> bytes:
    what = source.byte()
    odd = source.byte() if what & 0x80 else 0
    opcode = OPCODES[what & 7]
    if opcode is None:
        opcode = source.byte() & 15
    payload = read_payload(source)
    first = (0 if what & 8 else 0x80) | (odd & 7) << 4 | opcode
    key = KEY if masked is not bool(odd & 8) else None
    if odd & 0x40 and key is not None:
        key = source.take(4).ljust(4, b"\0")
    size = len(payload)
    if odd & 0x80:  # a lie, of which the peer may never send the rest
        size = int.from_bytes(source.take(source.byte() & 7))
    second = 0x80 if key is not None else 0
    return bytes([first]) + encode_length(second, size, odd >> 4 & 3) + (key or b"") + mask(payload, key)


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
    assert comparable(merged_when_cut) == comparable(merged), f"whole: {merged}, cut: {merged_when_cut}"
    # Cut, a frame gives its payload before it is whole. What is wrong with it may come out only then.
    assert part_when_cut[: len(part)] == part
    for event in merged:
        check_event(event, conversation.max_size)
    assert len(part_when_cut if isinstance(part_when_cut, bytes) else part_when_cut.encode()) <= conversation.max_size


def receive(conversation: Conversation, data: Iterable[bytes]) -> list[Event]:
    protocol = conversation.protocol()
    events: list[Event] = []
    with BUDGET.spend(len(conversation.wire)):
        for piece in data:
            events += protocol.feed(piece)
    ends = [index for index, event in enumerate(events) if isinstance(event, (Close, Failure))]
    assert ends in ([], [len(events) - 1]), "something came behind the end"
    check_state(protocol, conversation.role, events[-1] if ends else None)
    return events


def check_state(protocol: Protocol, role: Role, end: Event | None) -> None:
    """What may be sent now, is sent as whole frames of our role."""
    if isinstance(end, (Close, Failure)):
        assert not protocol.open
        assert protocol.feed(b"\x81\x00" * 3) == []
        check_sent(protocol.close(Close(end.code)), role, CLOSE, b"" if end.code == 1005 else end.code.to_bytes(2))
    else:
        assert protocol.open
        check_sent(protocol.pong(b"?"), role, PONG, b"?")
        check_sent(protocol.message("é"), role, TEXT, "é".encode())
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


def comparable(events: list[Event]) -> list[Event]:
    # Python's text about what is not UTF-8 says where in the piece, not where in the message.
    return [Failure(1007, "") if isinstance(event, Failure) and event.code == 1007 else event for event in events]


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
