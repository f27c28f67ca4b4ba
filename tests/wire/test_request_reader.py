"""Requests as bytes: every one that is well-formed is read, whatever it asks for, and all else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._errors import ConnectionRejected
from trio_ws._values import Request, Response
from trio_ws._wire.server_handshake import RequestReader, check_upgrade, encode_response, offered_subprotocols

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "example.org",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
#: An upgrade as browsers send it: every field that this library or h11 looks at, and some more.
FIELDS = UPGRADE | {
    "Origin": "https://example.org",
    "Sec-WebSocket-Protocol": "chat",
    "Sec-WebSocket-Extensions": "permessage-deflate",
    "Content-Length": "0",
    "Transfer-Encoding": "chunked",
    "Expect": "100-continue",
    "Cookie": "a=b",
    "Authorization": "Basic Og==",
    "User-Agent": "x",
}


def encode(fields: dict[str, str] = UPGRADE, line: str = "GET /chat HTTP/1.1") -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def read(data: bytes) -> Request:
    request = RequestReader().feed(data)
    assert request is not None
    return request


def refuse(data: bytes) -> Response:
    with pytest.raises(ConnectionRejected) as caught:
        RequestReader().feed(data)
    return caught.value.response


def test_request_is_read() -> None:
    request = read(b"GET /a%20b?c=d HTTP/1.1\r\nHost: example.org\r\nX: 1\r\nx:\t2 \r\n\r\n")
    assert request == Request("GET", "/a%20b?c=d", [("Host", "example.org"), ("X", "1"), ("x", "2")])


def test_bytes_behind_the_request_are_the_rest() -> None:
    reader = RequestReader()
    assert reader.feed(encode()[:10]) is None
    assert reader.feed(encode()[10:] + b"\x81\x80\x00\x00\x00\x00") is not None
    assert reader.rest == b"\x81\x80\x00\x00\x00\x00"


@pytest.mark.parametrize(("data", "empty"), [(b"", True), (b"G", False), (encode(), False)])
def test_reader_is_empty_until_a_byte_comes(data: bytes, empty: bool) -> None:
    reader = RequestReader()
    reader.feed(data)
    assert reader.empty == empty


def test_bytes_above_ascii_are_read_as_latin_1() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + bytes(range(0x80, 0x100)) + b"\r\n\r\n"
    assert read(data).headers["X"] == bytes(range(0x80, 0x100)).decode("latin-1")


def test_other_methods_and_bodies_are_well_formed() -> None:
    fields = {"Host": "a", "Content-Length": "5"}
    reader = RequestReader()
    request = reader.feed(encode(fields, "POST /x HTTP/1.1") + b"hello")
    assert request == Request("POST", "/x", fields)
    assert reader.rest == b"hello"
    assert read(encode({"Host": "a", "Transfer-Encoding": "chunked"}, "PATCH / HTTP/1.1")).method == "PATCH"


def test_http_1_0_is_read_also_without_host() -> None:
    assert read(b"GET /health HTTP/1.0\r\n\r\n") == Request("GET", "/health", (), "1.0")
    assert read(b"GET /health HTTP/1.0\r\nHost: a\r\n\r\n").headers["Host"] == "a"


def test_later_minor_version_is_read_as_1_1() -> None:
    assert read(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n").http_version == "1.1"


@pytest.mark.parametrize("line", ["GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/3.0", "PRI * HTTP/2.0"])
def test_other_version_of_http_is_505(line: str) -> None:
    assert refuse(encode(line=line)).status == 505


@pytest.mark.parametrize(
    "line",
    [
        "GET /",
        "GET / HTTP/2",
        "GET / HTTP/1.10",
        "GET / http/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.\xb2",
        "G\xc9T / HTTP/1.1",
        "GET /\xe9 HTTP/1.1",
        "(GET) / HTTP/1.1",
        "hello",
    ],
)
def test_malformed_request_line_is_400(line: str) -> None:
    assert refuse(encode(line=line)).status == 400


@pytest.mark.parametrize(
    "field",
    [
        b"A : b",
        b" A: b",
        b"A",
        b": b",
        b"A b: c",
        b"A: b\r\n c",
        b"A: b\rX: c",
        b"A: b\nX: c",
        b"A: \x00",
        b"\xe9: b",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: x",
        b"Content-Length: -1",
        b"Content-Length: " + b"1" * 21,
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0",
    ],
)
def test_malformed_or_smuggling_field_is_400(field: bytes) -> None:
    assert refuse(b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n").status == 400


def test_transfer_encoding_in_http_1_0_is_400() -> None:
    assert refuse(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").status == 400


def test_request_line_too_long_is_414() -> None:
    assert refuse(b"GET /" + b"a" * 8192).status == 414


@pytest.mark.parametrize(
    "fields", [b"A: " + b"b" * 8192, (b"A: " + b"b" * 4000 + b"\r\n") * 5, b"A: b\r\n" * 101], ids=len
)
def test_too_much_header_is_431(fields: bytes) -> None:
    assert refuse(b"GET / HTTP/1.1\r\n" + fields).status == 431


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "EXAMPLE.org:8080",
        "localhost:",
        "127.0.0.1:0",
        "a_b.example:65535",
        "[::1]",
        "[::1]:80",
        "a%2db",
        "xn--bcher-kva.example",
    ],
)
def test_valid_host_is_taken(host: str) -> None:
    assert read(encode({"Host": host})).headers["Host"] == host


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "a b",
        "a,b",
        "a/b",
        "a?b",
        "a#b",
        "user@a",
        "a:b",
        "a:-1",
        "a:+1",
        "a:1_0",
        "a:\xb2",
        "a:65536",
        "a:000080",
        "a:80:80",
        "::1",
        "[::1",
        "[::1]80",
        "[::1%25lo]",
        "[::1%lo]",
        "[]",
        "[v1.a]",
        "[127.0.0.1]",
        "b\xfccher.example",
        "a%2",
        "a%zz",
        'a"b',
        "a\\b",
        "xn--" + "\xe9" * 8000,
        "[" * 8000,
        ":" * 8000,
        "[" + ":" * 8000 + "]",
    ],
    ids=lambda host: ascii(host[:12]),
)
def test_invalid_host_is_400(host: str) -> None:
    assert refuse(encode({"Host": host})).status == 400


def test_missing_or_doubled_host_is_400() -> None:
    assert refuse(b"GET / HTTP/1.1\r\n\r\n").status == 400
    assert refuse(b"GET / HTTP/1.2\r\n\r\n").status == 400
    for version in (b"1.0", b"1.1", b"1.2"):
        assert refuse(b"GET / HTTP/" + version + b"\r\nHost: a\r\nhost: a\r\n\r\n").status == 400


@pytest.mark.parametrize(
    ("target", "origin_form"),
    [
        ("http://example.org", "/"),
        ("http://example.org/", "/"),
        ("HTTPS://EXAMPLE.ORG/a?b", "/a?b"),
        ("http://example.org?a/b", "/?a/b"),
        ("http://example.org//evil", "//evil"),
        ("//evil.example/x", "//evil.example/x"),
    ],
)
def test_absolute_target_becomes_origin_form(target: str, origin_form: str) -> None:
    assert read(encode(line=f"GET {target} HTTP/1.1")).target == origin_form


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/",
        "http://example.org:80/",
        "http://user@example.org/",
        "http:///",
        "ws://example.org/",
        "ftp://example.org/",
        "http:/example.org",
        "example.org",
        "example.org:80",
        "chat",
        "?chat",
        "*",
        "/chat#fragment",
        "/#",
        "#",
    ],
)
def test_target_in_any_other_form_is_400(target: str) -> None:
    assert refuse(encode(line=f"GET {target} HTTP/1.1")).status == 400


def test_absolute_target_without_host_is_400() -> None:
    assert refuse(b"GET http://example.org/ HTTP/1.0\r\n\r\n").status == 400


def test_asterisk_belongs_to_options() -> None:
    assert read(encode(line="OPTIONS * HTTP/1.1")).target == "*"
    assert read(encode(line="OPTIONS /a HTTP/1.1")).target == "/a"


def test_authority_belongs_to_connect() -> None:
    assert read(encode(line="CONNECT example.org:443 HTTP/1.1")).target == "example.org:443"


@pytest.mark.parametrize("target", ["/", "*", "example.org", "http://example.org/", "example.org:443/", "a:b"])
def test_connect_to_anything_else_is_400(target: str) -> None:
    assert refuse(encode(line=f"CONNECT {target} HTTP/1.1")).status == 400


def test_refusal_says_why_and_escapes_what_the_peer_sent() -> None:
    response = refuse(b"GET / HTTP/1.1\r\nHost: \x9b31m\xe9\r\n\r\n")
    assert response.body == b"The Host header '\\x9b31m\\xe9' is not valid: 'the host is not valid'.\n"


def status(data: bytes) -> int:
    """0 for a request that is well-formed or not complete, else the status of its refusal."""
    try:
        request = RequestReader().feed(data)
        if request is not None:
            check_upgrade(request)
            offered_subprotocols(request)
    except ConnectionRejected as rejected:
        assert rejected.response.body.isascii()  # noqa: PT017 (every outcome is allowed but this)
        encode_response(rejected.response)
        return rejected.response.status
    return 0


@pytest.mark.parametrize("name", FIELDS)
def test_any_byte_in_any_value_is_a_request_or_refused(name: str) -> None:
    for byte in map(chr, range(256)):
        for value in (byte, byte * 3, FIELDS[name] + byte, byte + FIELDS[name], f"{FIELDS[name]}{byte}x"):
            assert status(encode(UPGRADE | {name: value})) in {0, *range(400, 500)}


@pytest.mark.parametrize("name", FIELDS)
def test_any_byte_in_any_name_is_a_request_or_refused(name: str) -> None:
    for byte in map(chr, range(256)):
        for changed in (byte, name + byte, byte + name, f"{name[:4]}{byte}{name[4:]}"):
            assert status(encode(UPGRADE | {changed: FIELDS[name]})) in {0, *range(400, 500)}


def test_any_byte_in_the_request_line_is_a_request_or_refused() -> None:
    for byte in map(chr, range(256)):
        for line in (f"G{byte}T / HTTP/1.1", f"GET /{byte} HTTP/1.1", f"GET {byte} HTTP/1.1", f"GET / HTTP/1.{byte}"):
            assert status(encode(line=line)) in {0, *range(400, 500), 505}


pieces = st.sampled_from([*encode().splitlines(keepends=True), b"\r\n", b"Content-Length: 1\r\n", b"Host: [\r\n", b":"])


@settings(deadline=None)
@given(st.lists(pieces | st.binary(max_size=10), max_size=14).map(b"".join))
def test_arbitrary_bytes_are_a_request_or_refused(data: bytes) -> None:
    assert status(data) in {0, 505, *range(400, 500)}


@settings(deadline=None)
@given(st.lists(st.integers(0, len(encode())), max_size=8).map(sorted))
def test_splitting_a_request_changes_nothing(cuts: list[int]) -> None:
    data = encode()
    reader = RequestReader()
    results = [reader.feed(data[start:end]) for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert results[-1] == read(data)
