"""The fast lane of requests: what it reads it reads as the slow lane does, and what is unusual it leaves to that."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wire.test_request_reader import FIELDS, UPGRADE, encode
from trio_ws._errors import ConnectionRejected
from trio_ws._values import Request
from trio_ws._wire.server_handshake import RequestReader, check_upgrade
from trio_ws._wire.upgrade import is_key
from trio_ws._wire.usual_request import read_usual, usual_key

CHROME = UPGRADE | {
    "Origin": "https://example.org",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "a=b; c=d",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
}


def slowly(data: bytes) -> tuple[Request, bytes] | None:
    """What the slow lane says of these bytes; it gets whatever does not come in one piece."""
    reader = RequestReader()
    try:
        request = reader.feed(data[:1]) or reader.feed(data[1:])
    except ConnectionRejected:
        return None
    return None if request is None else (request, reader.rest)


def test_what_a_browser_sends_is_usual() -> None:
    read = read_usual(encode(CHROME) + b"\x81\x80")
    assert read == (Request("GET", "/chat", CHROME), b"\x81\x80")
    assert read == slowly(encode(CHROME) + b"\x81\x80")


_UNUSUAL = {
    "incomplete": encode()[:-1],
    "blank line in front": b"\r\n" + encode(),
    "another method": encode(line="HEAD / HTTP/1.1"),
    "another version": encode(line="GET / HTTP/1.0"),
    "absolute target": encode(line="GET http://example.org/ HTTP/1.1"),
    "fragment": encode(line="GET /#a HTTP/1.1"),
    "two spaces": encode(line="GET  / HTTP/1.1"),
    "no fields": b"GET / HTTP/1.1\r\n\r\n",
    "no Host": encode({"Upgrade": "websocket"}),
    "two Hosts": encode(UPGRADE | {"host": "example.org"}),
    "invalid Host": encode(UPGRADE | {"Host": "a b"}),
    "body": encode(UPGRADE | {"Content-Length": "0"}),
    "chunked body": encode(UPGRADE | {"transfer-encoding": "chunked"}),
    "no colon": encode().replace(b"Upgrade: ", b"Upgrade ", 1),
    "space before the colon": encode(UPGRADE | {"X ": "y"}),
    "folded line": encode(UPGRADE | {"X": "y\r\n z"}),
    "bare CR": encode(UPGRADE | {"X": "y\rz"}),
    "bare LF": encode(UPGRADE | {"X": "y\nz: a"}),
    "NUL": encode(UPGRADE | {"X": "\0"}),
    "DEL": encode(UPGRADE | {"X": "\x7f"}),
    "long line": encode(UPGRADE | {"X": "y" * 8192}),
    "many fields": encode(UPGRADE | {f"X{number}": "" for number in range(96)}),
}


@pytest.mark.parametrize("data", _UNUSUAL.values(), ids=_UNUSUAL)
def test_the_unusual_is_left_to_the_judges(data: bytes) -> None:
    assert read_usual(data) is None


def mutations(head: bytes) -> st.SearchStrategy[bytes]:
    """This head with a few bytes replaced, put in or taken out."""
    pieces = st.sampled_from([*(bytes([byte]) for byte in range(256)), b"\r\n", b"\r\n ", b": ", b"Host: a\r\n", b""])
    edits = st.lists(st.tuples(st.integers(0, len(head)), st.integers(0, 2), pieces), max_size=3)

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = head
        for place, length, piece in changes:
            data = data[:place] + piece + data[place + length :]
        return data

    return edits.map(apply)


@given(mutations(encode(CHROME)) | mutations(encode(FIELDS)) | mutations(encode()))
@example(encode(UPGRADE | {"Accept": " \t a\t b \t"}))
@example(encode(UPGRADE | {"Accept": ""}))
@example(encode(UPGRADE | {"X": "\xa0\x85\xff"}))
@example(encode(UPGRADE | {"Host": "[::1]:80"}))
def test_both_lanes_read_the_same(data: bytes) -> None:
    read = read_usual(data)
    assert read is None or read == slowly(data)


def test_lines_that_clients_share_are_kept_once() -> None:
    requests = [read_usual(encode(CHROME | {"Sec-WebSocket-Key": key})) for key in ("a", "b")]
    first, second = [dict(zip(read[0].headers, read[0].headers.fields, strict=True)) for read in requests if read]
    assert {name for name in first if first[name] is second[name]} == {
        *("host", "upgrade", "connection", "origin", "user-agent", "accept-encoding"),
        *("sec-websocket-version", "sec-websocket-extensions"),
    }


def test_what_peers_can_have_us_keep_is_bounded() -> None:
    first = read_usual(encode(UPGRADE | {"Origin": "https://first.example"}))
    for number in range(300):
        read_usual(encode(UPGRADE | {"Origin": f"https://{number}.example"}))
    again = read_usual(encode(UPGRADE | {"Origin": "https://first.example"}))
    assert first is not None
    assert again is not None
    assert first == again
    assert first[0].headers.fields[-1] is not again[0].headers.fields[-1]


# Whether such a request opens a WebSocket

KEY = UPGRADE["Sec-WebSocket-Key"]


def judged(request: Request) -> str | None:
    """The key as the judge says it, who is asked about every request that has a field twice."""
    fields = [*request.headers.fields, ("X-Twice", "a"), ("X-Twice", "b")]
    try:
        return check_upgrade(Request(request.method, request.target, fields, request.http_version))
    except ConnectionRejected:
        return None


@pytest.mark.parametrize(
    "changes", [{}, {"Connection": "keep-alive, Upgrade"}, CHROME], ids=["bare", "Firefox", "Chrome"]
)
def test_the_key_of_a_usual_upgrade_is_found(changes: dict[str, str]) -> None:
    request = Request("GET", "/chat", UPGRADE | changes)
    assert usual_key(request) == judged(request) == KEY


_ODD: dict[str, Request] = {
    "another method": Request("HEAD", "/", UPGRADE),
    "another version": Request("GET", "/", UPGRADE, "1.0"),
    "a field twice": Request("GET", "/", [*UPGRADE.items(), ("upgrade", "websocket")]),
    "nothing": Request("GET", "/"),
    "body": Request("GET", "/", UPGRADE | {"Content-Length": "0"}),
    "invalid Host": Request("GET", "/", UPGRADE | {"Host": "a b"}),
    "no Host": Request("GET", "/", {name: value for name, value in UPGRADE.items() if name != "Host"}),
    "no key": Request("GET", "/", {name: value for name, value in UPGRADE.items() if name != "Sec-WebSocket-Key"}),
    "spelled otherwise": Request("GET", "/", UPGRADE | {"Upgrade": "WebSocket"}),
    "bytes in a value": Request("GET", "/", cast(Any, UPGRADE | {"X": b"y"})),
    "bytes for a name": Request("GET", "/", cast(Any, [*UPGRADE.items(), (b"X", "y")])),
}


@pytest.mark.parametrize("request_", _ODD.values(), ids=_ODD)
def test_an_odd_upgrade_is_left_to_the_judge(request_: Request) -> None:
    assert usual_key(request_) is None


_values = st.sampled_from(
    [
        *("", " ", "a", "0", "13", "8", "[::1]", "[::1", "a:b", KEY, KEY[:-3] + "R==", KEY + "\n", "\u212a", "\ud800"),
        *("websocket", " websocket", "WebSocket", "Upgrade", "upgrade", "keep-alive, Upgrade", "close"),
    ]
)


@given(
    st.dictionaries(st.sampled_from([*UPGRADE, "Content-Length", "transfer-encoding", "upgrade", "", "X"]), _values),
    st.sets(st.sampled_from(sorted(UPGRADE))),
    st.sampled_from(["GET", "get", "POST"]),
    st.sampled_from(["1.1", "1.0"]),
)
def test_who_is_usual_is_so_to_the_judge(fields: dict[str, str], without: set[str], method: str, version: str) -> None:
    kept = {name: value for name, value in UPGRADE.items() if name not in without}
    request = Request(method, "/", kept | fields, version)
    assert usual_key(request) in (None, judged(request))


@given(
    st.binary(min_size=14, max_size=18).map(lambda nonce: base64.b64encode(nonce).decode())
    | st.text("ABQg+/=_ ", max_size=26)
)
@example(KEY)
@example(KEY[:-3] + "R==")  # the same 16 bytes to a lenient decoder
def test_a_key_is_the_canonical_base64_of_16_bytes(key: str) -> None:
    try:
        nonce = base64.b64decode(key, validate=True)
    except ValueError:
        nonce = b""
    assert is_key(key) == (len(nonce) == 16 and base64.b64encode(nonce).decode() == key)
