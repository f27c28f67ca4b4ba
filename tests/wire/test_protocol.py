"""Bytes in, events out, after the opening handshake."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame
from trio_ws import LocalProtocolError
from trio_ws._wire.limits import FrameGuard
from trio_ws._wire.protocol import Close, Event, Failure, Piece, Ping, Pong, Protocol, Role


def server(**options: int) -> Protocol:
    return Protocol("server", max_size=options.get("max_size", 1000), max_fragments=options.get("max_fragments", 100))


CONVERSATION = b"".join(
    [
        frame(TEXT, b"whole"),
        frame(BINARY, b"", fin=True),
        frame(TEXT, "é".encode()[:1], fin=False),
        frame(PING, b"in between"),
        frame(CONTINUATION, "é".encode()[1:], fin=False),
        frame(PONG),
        frame(CONTINUATION, b"end"),
        frame(BINARY, bytes(300)),
        close(3000, b"done"),
    ]
)


def joined(events: list[Event]) -> list[Event]:
    """The same, with the pieces of each message put together."""
    result: list[Event] = []
    parts: list[str] | list[bytes] = []
    for event in events:
        if isinstance(event, Piece):
            parts.append(event.data)  # type: ignore[arg-type]
            if event.finished:
                result.append(type(event.data)().join(parts))  # type: ignore[arg-type]
                parts = []
        else:
            result.append(event)
    return result


EXPECTED = ["whole", b"", Ping(b"in between"), Pong(b""), "éend", bytes(300), Close(3000, "done")]


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    protocol = server()
    events: list[Event] = []
    edges = sorted({0, len(CONVERSATION), *cuts})
    for start, end in pairwise(edges):
        events += protocol.feed(CONVERSATION[start:end])
    assert joined(events) == EXPECTED


def test_every_single_cut_gives_the_same_events() -> None:
    for cut in range(1, len(CONVERSATION)):
        protocol = server()
        assert joined(protocol.feed(CONVERSATION[:cut]) + protocol.feed(CONVERSATION[cut:])) == EXPECTED


@given(st.binary(max_size=200), st.sampled_from(["client", "server"]))
def test_arbitrary_bytes_give_events_and_never_an_exception(data: bytes, role: str) -> None:
    protocol = Protocol(role, max_size=50, max_fragments=3)  # type: ignore[arg-type]
    for event in protocol.feed(data):
        assert isinstance(event, (str, bytes, Piece, Ping, Pong, Close, Failure))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(TEXT, mask=False), 1002, id="5.1-unmasked-from-a-client"),
        pytest.param(frame(TEXT, rsv=4), 1002, id="5.2-rsv1"),
        pytest.param(frame(TEXT, rsv=1), 1002, id="5.2-rsv3"),
        pytest.param(frame(3), 1002, id="5.2-reserved-opcode"),
        pytest.param(b"\x81\xfe\x00\x01", 1002, id="5.2-length-not-minimal"),
        pytest.param(frame(CONTINUATION), 1002, id="5.4-nothing-to-continue"),
        pytest.param(frame(TEXT, fin=False) + frame(TEXT), 1002, id="5.4-message-inside-a-message"),
        pytest.param(frame(PING, fin=False), 1002, id="5.5-fragmented-control-frame"),
        pytest.param(frame(PING, bytes(126)), 1002, id="5.5-control-frame-too-long"),
        pytest.param(frame(CLOSE, b"x"), 1002, id="5.5.1-half-a-code"),
        pytest.param(close(999), 1002, id="7.4-code-999"),
        pytest.param(close(1005), 1002, id="7.4.1-code-1005"),
        pytest.param(close(1006), 1002, id="7.4.1-code-1006"),
        pytest.param(close(2000), 1002, id="7.4.2-code-2000"),
        pytest.param(close(5000), 1002, id="7.4.2-code-5000"),
        pytest.param(close(1000, b"\xff"), 1007, id="8.1-reason-not-utf8"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="8.1-surrogate"),
        pytest.param(frame(TEXT, b"\xe2\x82"), 1007, id="8.1-text-ends-in-a-character"),
    ],
)
def test_peer_that_breaks_a_rule_is_a_failure_and_the_last_event(data: bytes, code: int) -> None:
    protocol = server()
    events = protocol.feed(data + frame(TEXT, b"not looked at"))
    failure = events[-1]
    assert isinstance(failure, Failure)
    assert failure.code == code
    assert not protocol.open
    assert protocol.feed(frame(TEXT, b"nor this")) == []
    assert protocol.close(Close(failure.code)) == close(failure.code, mask=False)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_close_codes_that_may_be_received(code: int) -> None:
    assert server().feed(close(code)) == [Close(code)]


def test_close_is_answered_with_the_same_code_and_ends_everything() -> None:
    protocol = server()
    assert protocol.feed(close(4000, b"why") + frame(PING)) == [Close(4000, "why")]
    assert not protocol.open
    assert protocol.close(Close(4000)) == close(4000, mask=False)
    assert protocol.feed(frame(PING)) == []


def test_messages_that_come_after_our_close_are_still_events() -> None:
    """RFC 6455 §5.5.1 forbids us to send more, not to listen until the peer has answered."""
    protocol = server()
    protocol.close(Close(1001))
    assert not protocol.open
    assert protocol.feed(frame(TEXT, b"late") + close(1001)) == ["late", Close(1001)]


def test_client_sends_masked_and_takes_unmasked() -> None:
    protocol = Protocol("client", max_size=None, max_fragments=10)
    sent = protocol.message("x")
    assert sent[1] == 0x81
    assert protocol.feed(frame(TEXT, b"x", mask=False)) == ["x"]
    assert isinstance(protocol.feed(frame(TEXT, b"x"))[0], Failure)


def test_guard_of_the_limits_is_never_negotiated() -> None:
    assert FrameGuard(1, 1).offer() is False


@pytest.mark.parametrize("finished", [True, False])
def test_text_that_utf8_cannot_encode_is_refused_and_nothing_is_made_of_it(finished: bool) -> None:
    protocol = server()
    with pytest.raises(LocalProtocolError, match="must be encodable as UTF-8"):
        protocol.message("\ud800", finished=finished)
    assert protocol.message("fine") == frame(TEXT, b"fine", mask=False)


def in_reads(data: bytes, size: int = 100) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("behind", [b"", b"and another"])
def test_binary_message_that_comes_in_many_reads_is_one_event(role: Role, behind: bytes) -> None:
    message = bytes(range(250)) * 4
    protocol = Protocol(role, max_size=1000, max_fragments=100)
    data = b"".join(frame(BINARY, payload, mask=role == "server") for payload in (message, behind) if payload)
    events = [event for read in in_reads(data) for event in protocol.feed(read)]
    assert events == [message, behind] if behind else [message]


@pytest.mark.parametrize("role", ["client", "server"])
def test_what_has_come_of_a_binary_message_can_be_had_and_then_it_comes_in_pieces(role: Role) -> None:
    message = bytes(range(250)) * 4
    protocol = Protocol(role, max_size=1000, max_fragments=100)
    first, *others = in_reads(frame(BINARY, message, mask=role == "server"))
    assert protocol.feed(first) == []
    (so_far,) = protocol.so_far()
    assert message.startswith(so_far.data)  # type: ignore[arg-type]
    assert protocol.so_far() == []
    pieces = [so_far, *(piece for read in others for piece in protocol.feed(read))]
    assert len(pieces) == len(others) + 1
    assert joined(pieces) == [message]
    assert protocol.feed(frame(BINARY, b"next", mask=role == "server")) == [b"next"]


def test_of_a_binary_message_that_has_only_announced_itself_there_is_nothing_so_far() -> None:
    protocol = server()
    data = frame(BINARY, bytes(300))
    header = len(data) - 300
    assert protocol.feed(data[:header]) == []
    assert protocol.so_far() == []
    assert protocol.feed(data[header:]) == [bytes(300)]


def test_nothing_is_kept_of_a_message_that_was_cut_off() -> None:
    protocol = server()
    protocol.feed(frame(BINARY, bytes(300))[:-1])
    protocol.stop()
    assert protocol.so_far() == []


@pytest.mark.parametrize("size", [7, 100, 10_000])
def test_fragments_that_come_together_are_events_each_and_in_their_places(size: int) -> None:
    """Whatever stands between, before and behind them."""
    middle = [frame(CONTINUATION, b"%d," % number, fin=False) for number in range(20)]
    data = b"".join(
        [
            frame(BINARY, b"whole"),
            frame(TEXT, b"", fin=False),
            *middle[:7],
            frame(PING, b"in between"),
            *middle[7:],
            frame(CONTINUATION, b"end"),
            frame(BINARY, b"whole again"),
        ]
    )
    protocol = server()
    events = [event for read in in_reads(data, size) for event in protocol.feed(read)]
    assert events.index(Ping(b"in between")) >= 8
    expected = "".join(f"{number}," for number in range(20)) + "end"
    assert joined(events) == [b"whole", Ping(b"in between"), expected, b"whole again"]


def test_fragment_that_breaks_a_rule_among_others_is_the_last_event() -> None:
    middle = frame(CONTINUATION, b"x", fin=False)
    unmasked = frame(CONTINUATION, b"x", fin=False, mask=False)
    *pieces, failure = server().feed(frame(TEXT, b"x", fin=False) + middle * 3 + unmasked + middle * 3)
    assert pieces == [Piece("x", False)] * 4
    assert isinstance(failure, Failure)
    assert failure.code == 1002
