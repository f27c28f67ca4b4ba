"""The fast lane and wsproto's give the same events, whatever comes and however it is cut.

The slow lane alone is a Protocol whose fast lane finds no frame that it understands.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import differential
from tests.fuzz.frames import Agreed, Conversation, comparable, encode_length, mask, merge, receive
from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close, frame
from tests.raw import frames as frames_in
from trio_ws._wire import fast_lane, frames, partial_frame, protocol
from trio_ws._wire.protocol import Close, Event, Failure, Ping, Pong, Protocol, Role

KEY = b"\x37\xfa\x21\x3d"  # the example of RFC 6455 §5.7
#: What one call of feed() returns at most: it stops when there is that much, and what is found together stays together.
MOST_EVENTS = 2 * 1000
MOST_INFLATED = 2**16 + 2**14


# The lanes


@contextmanager
def slow_lane_alone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (protocol, fast_lane):
            patch.setattr(module, "split", lambda data, start, *_: ([], start))
        patch.setattr(fast_lane, "read_header", lambda *_: None)
        yield


@contextmanager
def in_python() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (protocol, fast_lane):
            patch.setattr(module, "split", frames.split_in_python)
        for module in (fast_lane, partial_frame):
            patch.setattr(module, "mask", frames.mask_in_python)
        yield


def cut(wire: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(wire), *(min(place, len(wire)) for place in cuts)})
    return [wire[start:end] for start, end in pairwise(edges)]


# What comes: frames as they may be, or nearly


@attrs.frozen
class Frames:
    """The peer's frames, with what is to be known of the connection to make them."""

    masked: bool
    max_size: int
    agreed: Agreed | None

    def sizes(self) -> st.SearchStrategy[int]:
        near = [self.max_size - 1, self.max_size, self.max_size + 1]
        return st.sampled_from([0, 1, 2, 5, 125, 126, 127, 200, 65535, 65536, *near])

    def payloads(self, opcode: int) -> st.SearchStrategy[bytes]:
        if opcode == TEXT:
            whole = st.builds(
                lambda text, size: (text * (size + 1)).encode()[:size], st.sampled_from(TEXTS), self.sizes()
            )
            return st.one_of(st.sampled_from(NOT_UTF8), whole)
        return st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 255), self.sizes())

    def messages(self) -> st.SearchStrategy[bytes]:
        """In one frame or in several, perhaps with something between them, perhaps compressed."""
        return st.sampled_from([TEXT, TEXT, BINARY]).flatmap(
            lambda opcode: st.builds(
                self._message,
                st.just(opcode),
                self.payloads(opcode),
                st.lists(st.tuples(st.integers(0, 20), self.controls()), max_size=3),
                st.booleans(),
            )
        )

    def _message(self, opcode: int, payload: bytes, cuts: list[tuple[int, bytes]], compressed: bool) -> bytes:
        first = 0
        if compressed and self.agreed is not None:
            deflate = zlib.compressobj(wbits=-max(9, self.agreed.their_bits))
            payload = (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
            first = 4
        parts = cut(payload, [place for place, _ in cuts]) or [b""]
        wire = b""
        for number, part in enumerate(parts):
            fin = number == len(parts) - 1
            wire += self.frame(CONTINUATION if number else opcode, part, fin=fin, rsv=0 if number else first)
            wire += b"" if fin else cuts[number][1]
        return wire

    def fragments(self) -> st.SearchStrategy[bytes]:
        """Of messages that have a beginning and an end, or not, with texts that are cut anywhere."""
        first = st.builds(self.frame, st.sampled_from([TEXT, BINARY]), st.sampled_from(FRAGMENTS), fin=st.just(False))
        one = st.builds(
            self.frame,
            st.sampled_from([CONTINUATION] * 8 + [TEXT, BINARY]),
            st.one_of(st.sampled_from(FRAGMENTS), st.builds(bytes, self.sizes())),
            fin=st.sampled_from([False, False, True]),
            rsv=st.sampled_from([0] * 12 + [1, 2, 4]),
        )
        others = st.lists(st.one_of(one, one, one, self.controls()), max_size=8)
        return st.builds(lambda first, others: first + b"".join(others), first, others)

    def controls(self) -> st.SearchStrategy[bytes]:
        return st.builds(
            self.frame, st.sampled_from([PING, PONG]), st.builds(bytes, st.sampled_from([0, 1, 4, 125, 126]))
        ) | st.just(b"")

    def closes(self) -> st.SearchStrategy[bytes]:
        codes = st.sampled_from([999, 1000, 1001, 1004, 1005, 1006, 1014, 1015, 2000, 3000, 4999, 5000])
        return st.one_of(
            st.sampled_from([self.frame(CLOSE), self.frame(CLOSE, b"\x03")]),
            st.builds(
                lambda code, reason: close(code, reason, mask=self.masked),
                codes,
                st.sampled_from([b"", b"bye", b"\xff", b"x" * 123, b"x" * 124]),
            ),
        )

    def odd(self) -> st.SearchStrategy[bytes]:
        """With any first byte, with or without a mask, with a length in any form, or one that is a lie."""
        return st.builds(
            self._odd,
            st.integers(0, 255),
            st.binary(max_size=130),
            st.integers(0, 2),
            st.sampled_from([0, 0, 0, 1, -1, 2**63]),
            st.booleans(),
        )

    def _odd(self, first: int, payload: bytes, longer: int, lie: int, masked: bool) -> bytes:
        size = max(0, len(payload) + lie)
        head = bytes([first]) + encode_length(0x80 if masked else 0, size, longer)
        return head + (KEY + mask(payload, KEY) if masked else payload)

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
        # Not frame() of tests.raw, which masks byte by byte: here are many large ones.
        head = bytes([fin << 7 | rsv << 4 | opcode]) + encode_length(0x80 if self.masked else 0, len(payload), 0)
        return head + (KEY + mask(payload, KEY) if self.masked else payload)


TEXTS = ["x", "é", "€", "\N{PARTY POPPER}", "aé€\N{PARTY POPPER}"]
NOT_UTF8 = [b"\xff", b"\xe2\x82", b"fine\xf0\x9f\x8e", b"\xed\xa0\x80", b"x" * 120 + b"\xc0\xaf", b"x" * 200 + b"\xe2"]
#: What texts are made of when they are cut anywhere, and two that have no place in any.
FRAGMENTS = [
    b"",
    b"x",
    b"\xe2",
    b"\x82",
    b"\xac",
    b"\xe2\x82",
    b"\xf0\x9f\x8e",
    b"\x89",
    "€".encode() * 50,
    b"\xff",
    b"\xed\xa0",
]


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    role: Role = draw(st.sampled_from(["client", "server"]))
    max_size = draw(st.sampled_from([1, 7, 125, 126, 1000, 65535, 65536, 70_000]))
    agreed = draw(
        st.none() | st.builds(Agreed, st.just(15), st.booleans(), st.sampled_from([9, 15]), st.booleans(), st.just(0))
    )
    peer = Frames(role == "server", max_size, agreed)
    usual = st.one_of(peer.messages(), peer.messages(), peer.controls(), peer.fragments())
    parts = draw(st.lists(usual, max_size=6))
    parts += draw(st.lists(st.one_of(usual, peer.closes(), peer.odd()), max_size=2))
    parts += draw(st.lists(usual, max_size=2))
    wire = bytearray(b"".join(parts))
    for place in draw(st.lists(st.integers(0, max(0, 8 * len(wire) - 1)), max_size=1)):
        if wire:
            wire[place // 8] ^= 1 << place % 8
    return Conversation(
        role=role,
        max_size=max_size,
        max_fragments=draw(st.sampled_from([100, 1, 3])),
        shape=0,
        wire=bytes(wire[: draw(st.none() | st.integers(0, len(wire)))]),
        deflate=agreed,
    )


cuts = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 140_000)), max_size=8)


# The rules


def events_of(conversation: Conversation, pieces: Iterable[bytes]) -> tuple[list[Event], str | bytes]:
    merged, part = merge(receive(conversation, pieces))
    return comparable(merged, compressed=False), part


@settings(max_examples=200, deadline=None)
@given(conversations(), cuts)
def test_both_lanes_give_the_same_events_of_the_same_reads(conversation: Conversation, cuts: list[int]) -> None:
    pieces = cut(conversation.wire, cuts)
    with slow_lane_alone():
        expected = events_of(conversation, pieces)
    assert events_of(conversation, pieces) == expected
    with in_python():
        assert events_of(conversation, pieces) == expected


@settings(max_examples=100, deadline=None)
@given(conversations(), cuts, cuts)
def test_both_lanes_give_the_same_events_however_the_reads_are_cut(
    conversation: Conversation, cuts: list[int], others: list[int]
) -> None:
    compressed = conversation.deflate is not None
    with slow_lane_alone():
        expected, _ = events_of(conversation, cut(conversation.wire, others))
    found, _ = events_of(conversation, cut(conversation.wire, cuts))
    assert comparable(found, compressed=compressed) == comparable(expected, compressed=compressed)


@settings(max_examples=100, deadline=None)
@given(conversations())
def test_both_lanes_agree_with_websockets(conversation: Conversation) -> None:
    """But for the differences that have a name and a reason."""
    differential.compare(conversation)
    with slow_lane_alone():
        differential.compare(conversation)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("places", [1, 2])
def test_both_lanes_give_the_same_events_when_cut_anywhere(role: Role, places: int) -> None:
    peer = Frames(role == "server", 200, None)
    parts = [
        peer.frame(TEXT, "a€".encode()),
        peer.frame(BINARY, b"x" * 126)[: 10 if places == 2 else None],
        *([b"x" * (126 - 10 + (8 if peer.masked else 4))] if places == 2 else []),
        peer.frame(TEXT, "€".encode()[:1], fin=False),
        peer.frame(PING, b"?"),
        peer.frame(CONTINUATION, "€".encode()[1:]),
        peer.frame(BINARY),
        close(1000, b"bye", mask=peer.masked),
    ]
    conversation = Conversation(role, 200, 100, 0, b"".join(parts), None)
    size = len(conversation.wire)
    with slow_lane_alone():
        expected = events_of(conversation, [conversation.wire])
    assert expected[0][-1] == Close(1000, "bye")
    for first in range(size):
        for second in range(first + 1, size, 7) if places == 2 else [size]:
            assert events_of(conversation, cut(conversation.wire, [first, second])) == expected


# Closing


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="no-code"),
        pytest.param(b"\x03", id="half-a-code"),
        pytest.param(b"\x03\xe8", id="1000"),
        pytest.param(b"\x03\xe9" + "müde".encode(), id="1001-and-reason"),
        pytest.param(b"\x03\xe8\xff", id="reason-not-UTF-8"),
        pytest.param(b"\x03\xe8" + b"x" * 123, id="longest-reason"),
        pytest.param(b"\x03\xe8" + b"x" * 124, id="reason-too-long"),
        pytest.param(b"\x03\xed", id="1005"),
        pytest.param(b"\x0b\xb8mine", id="3000"),
    ],
)
def test_both_lanes_give_the_same_closing_wherever_it_stands(role: Role, content: bytes) -> None:
    peer = Frames(role == "server", 200, None)
    closing = peer.frame(CLOSE, content)
    behind = peer.frame(TEXT, b"too late")
    for before in (b"", peer.frame(TEXT, b"x"), peer.frame(BINARY, b"x", fin=False)):
        wire = before + closing + behind
        conversation = Conversation(role, 200, 100, 0, wire, None)
        for cuts in ([], [len(before)], range(len(wire))):
            with slow_lane_alone():
                expected = events_of(conversation, cut(wire, cuts))
            assert events_of(conversation, cut(wire, cuts)) == expected
            assert isinstance(expected[0][-1], (Close, Failure))


@pytest.mark.parametrize("role", ["client", "server"])
def test_closing_handshake_as_it_usually_is_does_without_wsproto(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SlowLane", None)
    endpoint = Protocol(role, max_size=200, max_fragments=100)
    assert endpoint.feed(close(1001, b"bye", mask=role == "server")) == [Close(1001, "bye")]
    assert not endpoint.open
    assert list(frames_in(endpoint.close(Close(1001)))) == [Frame(CLOSE, b"\x03\xe9", masked=role == "client")]


# Messages in fragments


def fragments_of(peer: Frames) -> dict[str, list[bytes]]:
    """What may become of a message that began as it should; five fragments and 200 bytes are allowed."""
    begun = [
        peer.frame(TEXT, b"a\xe2", fin=False),
        peer.frame(PING, b"?"),
        peer.frame(CONTINUATION, b"\x82", fin=False),
    ]
    binary = [peer.frame(BINARY, b"x" * 130, fin=False), peer.frame(CONTINUATION, fin=False)]
    end = peer.frame(CONTINUATION, b"\xac")
    return {
        "as it should be": [*begun, end, *binary, peer.frame(PONG), peer.frame(CONTINUATION, b"x" * 70), *begun, end],
        "within a character": [*begun, peer.frame(CONTINUATION, b"")],
        "not UTF-8 in the middle": [*begun, peer.frame(CONTINUATION, b"x", fin=False), end],
        "not UTF-8 at once": [peer.frame(TEXT, b"\xff", fin=False), end],
        "not UTF-8 in the slow lane": [*begun, peer.frame(PING, b"x" * 126)[:-1], end],
        "message inside": [*begun, peer.frame(TEXT, b"x"), end],
        "another one begins": [*binary, peer.frame(BINARY, b"x", fin=False)],
        "reserved bit": [*begun, peer.frame(CONTINUATION, b"\xac", rsv=2)],
        "compressed": [*binary, peer.frame(CONTINUATION, b"x", rsv=4)],
        "wrong mask": [*begun, frame(CONTINUATION, b"\xac", mask=not peer.masked)],
        "length not minimal": [*binary, peer._odd(0, b"x" * 10, 1, 0, peer.masked)],
        "one byte too many": [*binary, peer.frame(CONTINUATION, b"x" * 70, fin=False), peer.frame(CONTINUATION, b"x")],
        "far too many": [*binary, peer._odd(0, b"x", 0, 2**63, peer.masked)],
        "first one too large": [peer.frame(BINARY, b"x" * 201, fin=False)],
        "one fragment too many": [*binary, *[peer.frame(CONTINUATION, b"x", fin=False)] * 4],
        "nothing to go on with": [*begun, end, end],
        "ping too long": [*begun, peer.frame(PING, b"x" * 126), end],
        "ping in fragments": [*begun, peer.frame(PING, b"x", fin=False), end],
        "reserved opcode": [*begun, peer.frame(3), end],
        "close": [*begun, close(1000, b"bye", mask=peer.masked), end],
        "close that may not be": [*binary, close(1005, mask=peer.masked)],
    }


@pytest.mark.parametrize("what", fragments_of(Frames(True, 200, None)))
@pytest.mark.parametrize("role", ["client", "server"])
def test_both_lanes_give_the_same_events_of_fragments_cut_anywhere(role: Role, what: str) -> None:
    """Of all that comes, and of any part of it: what is wrong is refused by the same byte."""
    wire = b"".join(fragments_of(Frames(role == "server", 200, None))[what])
    conversation = Conversation(role, 200, 5, 0, wire, None)
    size = len(wire)
    for end in {*range(1, size, 23), *range(max(1, size - 30), size + 1)}:
        for pieces in (cut(wire[:end], []), cut(wire[:end], range(end)), cut(wire[:end], range(0, end, 5))):
            with slow_lane_alone():
                expected = events_of(conversation, pieces)
            assert events_of(conversation, pieces) == expected
    with slow_lane_alone():
        whole, _ = events_of(conversation, [wire])
    for place in range(1, size):
        assert events_of(conversation, cut(wire, [place]))[0] == whole
    if what == "as it should be":
        assert whole == [Ping(b"?"), "a€", Pong(b""), b"x" * 200, Ping(b"?"), "a€"]
    else:
        differential.compare(conversation)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("size", [1, 3, 50, 10_000])
def test_plain_fragments_are_not_wsproto_s_to_judge_however_they_come(
    role: Role, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SlowLane", None)
    masked = role == "server"
    endpoint = Protocol(role, max_size=1000, max_fragments=6)
    first = frame(TEXT, b"a\xe2", fin=False, mask=masked)
    others = [b"\x82", b"", b"\xac", "é".encode() * 70]
    rest = b"".join(frame(CONTINUATION, part, fin=False, mask=masked) for part in others)
    rest += frame(CONTINUATION, b"z", mask=masked)
    events = list(endpoint.feed(first))
    for part in cut(rest, range(0, len(rest), size)):
        events += endpoint.feed(part)
    assert merge(events) == (["a€" + "é" * 70 + "z"], b"")


# More than one turn's work


def many_events() -> bytes:
    return (frame(PING) * 999 + frame(TEXT, b"x") * 1500 + frame(TEXT, b"y", fin=False) + frame(CONTINUATION)) * 2


def large_when_inflated() -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    wire = b""
    for _ in range(5):
        data = deflate.compress(bytes(100_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        wire += frame(BINARY, data.removesuffix(b"\0\0\xff\xff"), rsv=4)
    return wire


DEFLATE = Agreed(15, False, 15, False, 0)
TOO_MUCH = pytest.mark.parametrize(
    ("wire", "agreed"), [(many_events(), None), (large_when_inflated(), DEFLATE)], ids=["events", "bytes"]
)


def size_of(events: Iterable[Event]) -> int:
    return sum(len(event) if isinstance(event, bytes) else len(getattr(event, "data", b"")) for event in events)


@TOO_MUCH
def test_what_is_too_much_for_one_turn_comes_in_several_with_nothing_left_out(
    wire: bytes, agreed: Agreed | None
) -> None:
    conversation = Conversation("server", 2**20, 100, 0, wire, agreed)
    endpoint = conversation.protocol()
    turns = [endpoint.feed(wire)]
    while endpoint.pending:
        turns.append(endpoint.feed(b""))
    assert len(turns) > 2
    assert all(len(turn) < MOST_EVENTS and size_of(turn) <= MOST_INFLATED for turn in turns)
    with slow_lane_alone():
        expected = merge(receive(conversation, cut(wire, range(0, len(wire), 50))))
    assert merge([event for turn in turns for event in turn]) == expected


@TOO_MUCH
def test_nothing_comes_of_what_was_pending_when_it_was_stopped(wire: bytes, agreed: Agreed | None) -> None:
    endpoint = Conversation("server", 2**20, 100, 0, wire, agreed).protocol()
    endpoint.feed(wire)
    assert endpoint.pending
    endpoint.stop()
    assert not endpoint.pending
    assert not endpoint.open
    assert list(endpoint.feed(b"")) == list(endpoint.feed(frame(TEXT, b"late"))) == []


def test_failure_behind_many_messages_comes_behind_all_of_them() -> None:
    endpoint = Protocol("server", max_size=10, max_fragments=10)
    events = list(endpoint.feed(frame(TEXT, b"x") * 2500 + frame(TEXT, b"x" * 11) + frame(PING)))
    assert endpoint.open
    while endpoint.pending:
        events += endpoint.feed(b"")
    assert events == ["x"] * 2500 + [Failure(1009, "message over the limit of 10 bytes")]
    assert not endpoint.open
    assert Ping(b"") not in events


@pytest.mark.parametrize("end", [close(), frame(TEXT, b"\xff")], ids=["close", "failure"])
@pytest.mark.parametrize("messages", [998, 999, 1000, 1001])
def test_nothing_is_pending_behind_the_end(messages: int, end: bytes) -> None:
    endpoint = Protocol("server", max_size=10, max_fragments=10)
    events = list(endpoint.feed(frame(TEXT, b"x") * messages + end))
    while not isinstance(events[-1], (Close, Failure)):
        assert endpoint.pending
        events += endpoint.feed(b"")
    assert len(events) == messages + 1
    assert not endpoint.pending
