"""Heads of HTTP messages: what a peer may send, what we may send, and lists in header fields."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._errors import LocalHandshakeError
from trio_ws._wire.head import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_LINE,
    HeadBuffer,
    HeadError,
    HeadTooLong,
    LineTooLong,
    MalformedHead,
    TooManyFields,
    encode_head,
    parse_protocols,
    parse_tokens,
)

REQUEST = b"GET /chat HTTP/1.1\r\nHost: example.org\r\nX: y\r\n\r\n"


def outcome(pieces: list[bytes]) -> tuple[bytes | None, bytes] | tuple[type, str]:
    """What a HeadBuffer makes of these pieces: the head and the rest, or how it was refused."""
    buffer = HeadBuffer()
    for index, piece in enumerate(pieces):
        try:
            head = buffer.feed(piece)
        except HeadError as error:
            return type(error), str(error)
        if head is not None:
            return head, buffer.rest + b"".join(pieces[index + 1 :])
    return None, b""


def drip(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def test_head_is_returned_with_its_blank_line() -> None:
    assert HeadBuffer().feed(REQUEST) == REQUEST


def test_bytes_behind_the_head_are_the_rest() -> None:
    buffer = HeadBuffer()
    assert buffer.feed(REQUEST + b"\x81\x00\r\n") == REQUEST
    assert buffer.rest == b"\x81\x00\r\n"


@pytest.mark.parametrize(("pieces", "empty"), [([], True), ([b""], True), ([b"\r"], False), ([b"G", b""], False)])
def test_buffer_is_empty_until_a_byte_comes(pieces: list[bytes], empty: bool) -> None:
    buffer = HeadBuffer()
    assert [buffer.feed(piece) for piece in pieces] == [None] * len(pieces)
    assert buffer.empty == empty


@pytest.mark.parametrize("split", range(len(REQUEST) + 1))
def test_split_at_any_boundary_changes_nothing(split: int) -> None:
    data = b"\r\n" + REQUEST
    assert outcome([data[:split], data[split:] + b"rest"]) == (REQUEST, b"rest")


def test_one_blank_line_before_the_head_is_skipped() -> None:
    assert outcome([b"\r\n" + REQUEST]) == (REQUEST, b"")


def test_second_blank_line_before_the_head_is_refused() -> None:
    assert outcome([b"\r\n\r\n" + REQUEST]) == (MalformedHead, "there is no first line")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\n\n", "a line ends in a bare LF"),
        (b"GET / HTTP/1.1\r\nA: b\n\r\n", "a line ends in a bare LF"),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n", "there is a bare CR"),
        (b"GET / HTTP/1.1\r\r\n", "there is a bare CR"),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n", "a header line begins with whitespace (obsolete line folding)"),
        (b"GET / HTTP/1.1\r\n\tA: b\r\n", "a header line begins with whitespace (obsolete line folding)"),
        (b"GET / HTTP/1.1\r\nA: \x00\r\n", "there is a control character"),
        (b"GET / HTTP/1.1\r\nA: \x7f\r\n", "there is a control character"),
        (b"GET /\x01 HTTP/1.1\r\n", "there is a control character"),
        (b"\x16\x03\x01", "the first byte is 0x16"),
        (b" GET / HTTP/1.1\r\n", "the first byte is 0x20"),
        (b"\n", "the first byte is 0x0a"),
        (b"\r\n\x80", "the first byte is 0x80"),
    ],
)
def test_malformed_head_is_refused(data: bytes, why: str) -> None:
    assert outcome([data]) == (MalformedHead, why)
    assert outcome(drip(data)) == (MalformedHead, why)


def test_tab_and_bytes_above_ascii_are_allowed_in_a_value() -> None:
    head = b"GET / HTTP/1.1\r\nA: b\tc\x80\xff\r\n\r\n"
    assert outcome([head]) == (head, b"")


def test_lines_up_to_the_limit_are_taken() -> None:
    line = b"A: " + b"b" * (MAX_LINE - 5) + b"\r\n"
    head = b"GET / HTTP/1.1\r\n" + line + b"\r\n"
    assert outcome([head]) == (head, b"")


def test_first_line_over_the_limit_is_refused_without_its_end() -> None:
    buffer = HeadBuffer()
    assert buffer.feed(b"A" * MAX_LINE) is None
    with pytest.raises(LineTooLong, match="the first line") as caught:
        buffer.feed(b"A")
    assert caught.value.first_line


def test_header_line_over_the_limit_is_refused_without_its_end() -> None:
    buffer = HeadBuffer()
    assert buffer.feed(b"GET / HTTP/1.1\r\n" + b"A" * MAX_LINE) is None
    with pytest.raises(LineTooLong, match="a header line") as caught:
        buffer.feed(b"A")
    assert not caught.value.first_line


def head_of_size(size: int) -> bytes:
    lines = b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 8000 + b"\r\n") * 2
    return lines + b"B: " + b"c" * (size - len(lines) - 7) + b"\r\n\r\n"


def test_head_up_to_the_limit_is_taken() -> None:
    head = head_of_size(MAX_HEAD)
    assert len(head) == MAX_HEAD
    assert outcome([head]) == (head, b"")


def test_head_over_the_limit_is_refused() -> None:
    refused = (HeadTooLong, f"the header is longer than {MAX_HEAD} bytes")
    assert outcome([head_of_size(MAX_HEAD + 1)]) == refused
    assert outcome([head_of_size(MAX_HEAD + 100)[: MAX_HEAD + 1]]) == refused
    assert outcome([head_of_size(MAX_HEAD + 100)[:MAX_HEAD]]) == (None, b"")


def test_limit_that_is_exceeded_first_counts() -> None:
    start = b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 8100 + b"\r\n" + b"B: c\r\n" * 20
    for data in (start + b"d" * 9000 + b"\r\n", b"GET / HTTP/1.1\r\n" + b"d" * 20000):
        assert outcome([data]) == outcome(drip(data))


def test_as_many_fields_as_the_limit_are_taken() -> None:
    head = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_FIELDS + b"\r\n"
    assert outcome([head]) == (head, b"")


def test_more_fields_than_the_limit_are_refused() -> None:
    head = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_FIELDS + 1)
    assert outcome([head]) == (TooManyFields, f"there are more than {MAX_FIELDS} header fields")


fragments = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"A: b\r\n", b"\r\n", b"\r", b"\n", b" ", b"\x00", b"a" * 5000, b"B: \xff\r\n"]
)


@settings(deadline=None)
@given(st.lists(fragments | st.binary(max_size=20), max_size=12), st.data())
def test_result_does_not_depend_on_how_bytes_are_split(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert outcome(pieces) == outcome([whole])


def lines_run(function: Callable[[], object]) -> int:
    """How many lines of Python ``function`` runs: a measure of work that no busy machine changes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("unit", [b"a", b" ", b"\t", b",", b"a,", b'"', b"a \t", b"\\", b"\xff", b"%", b";="])
def test_nasty_values_cost_work_in_proportion_to_their_length(unit: bytes) -> None:
    def work(size: int) -> int:
        value = (unit * size)[:size]
        data = b"GET / HTTP/1.1\r\nA: " + value + b"\r\nA: " + value + b"\r\n\r\n"
        pieces = drip(data)
        return lines_run(lambda: outcome(pieces)) + lines_run(lambda: parse(value.decode("latin-1")))

    assert work(8000) <= 2.1 * work(4000)


def parse(value: str) -> None:
    for parser in (parse_tokens, parse_protocols):
        with suppress(ValueError):
            parser([value, value])


def test_head_is_encoded_with_its_fields_in_order() -> None:
    head = encode_head("GET / HTTP/1.1", [("Host", "a"), ("X", ""), ("x", "\xe9\t\x80")])
    assert head == b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\nx: \xe9\t\x80\r\n\r\n"


def test_status_line_without_a_phrase_keeps_its_space() -> None:
    assert encode_head("HTTP/1.1 299 ", []) == b"HTTP/1.1 299 \r\n\r\n"


@pytest.mark.parametrize("line", ["", " GET", "GET  /", "GET /\r\nA: b", "GET /\t", "GET /é", "GET /\x7f", "GET /\x00"])
def test_bad_first_line_is_not_sent(line: str) -> None:
    with pytest.raises(LocalHandshakeError, match="first line"):
        encode_head(line, [])


@pytest.mark.parametrize("control", [*(chr(code) for code in range(32) if code != 9), "\x7f"])
def test_control_character_in_a_value_is_not_sent(control: str) -> None:
    with pytest.raises(LocalHandshakeError, match="'Secret' holds a control character") as caught:
        encode_head("GET / HTTP/1.1", [("Secret", f"hunter2{control}x")])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (" x", "begins or ends with whitespace"),
        ("x\t", "begins or ends with whitespace"),
        ("€", "beyond ISO 8859-1"),
        ("\ud800", "beyond ISO 8859-1"),
        (1, "not a str but int"),
        (b"x", "not a str but bytes"),
        (None, "not a str but NoneType"),
    ],
)
def test_bad_value_is_not_sent(value: object, why: str) -> None:
    with pytest.raises(LocalHandshakeError, match=why):
        encode_head("GET / HTTP/1.1", [("X", value)])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["", " ", "A:", "A b", "A\r\nB", "é", "A\x00", "\uff21", b"A", None])
def test_bad_name_is_not_sent(name: object) -> None:
    with pytest.raises(LocalHandshakeError, match="is not the name of a header field"):
        encode_head("GET / HTTP/1.1", [(name, "x")])  # type: ignore[list-item]


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_head_that_is_sent_has_as_many_lines_as_meant(line: str, name: str, value: str) -> None:
    try:
        head = encode_head(line, [(name, value)])
    except LocalHandshakeError:
        return
    assert head.split(b"\r\n") == [line.encode(), f"{name}: {value}".encode("latin-1"), b"", b""]
    assert head.count(b"\r") == head.count(b"\n") == 3


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ([], []),
        ([""], []),
        (["a"], ["a"]),
        (["a,b", "c"], ["a", "b", "c"]),
        ([" a \t,\tb ", ",,c,"], ["a", "b", "c"]),
    ],
)
def test_list_spans_fields_and_skips_empty_items(values: list[str], tokens: list[str]) -> None:
    assert parse_tokens(values) == tokens
    assert parse_protocols(values) == tokens


@pytest.mark.parametrize("value", ["a b", "é", '"a"', "a;b", "a/1", "a, b=c", "\u212a"])
def test_item_that_is_not_a_token_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not a token"):
        parse_tokens([value])


def test_protocol_may_have_a_version() -> None:
    assert parse_protocols(["h2c, HTTP/2.0"]) == ["h2c", "HTTP/2.0"]


@pytest.mark.parametrize("value", ["a b", "/1", "a/", "a/b/c", "a/b c"])
def test_item_that_is_not_a_protocol_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not a protocol"):
        parse_protocols([value])
