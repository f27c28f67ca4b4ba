"""The server's side of the opening handshake as bytes: any request, the upgrade, and what is answered."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws._errors import ConnectionRejected, LocalHandshakeError
from trio_ws._values import Headers, HeadersLike, Request, Response
from trio_ws._wire.server_handshake import (
    RequestReader,
    accept_key,
    accept_response,
    check_subprotocol_names,
    check_upgrade,
    encode_response,
    offered_subprotocols,
)

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


def refuse_upgrade(request: Request) -> Response:
    with pytest.raises(ConnectionRejected) as caught:
        check_upgrade(request)
    return caught.value.response


# Requests


def test_request_is_read() -> None:
    request = read(b"GET /a%20b?c=d HTTP/1.1\r\nHost: example.org\r\nX: 1\r\nx:\t2 \r\n\r\n")
    assert request == Request("GET", "/a%20b?c=d", [("Host", "example.org"), ("X", "1"), ("x", "2")])


def test_bytes_behind_the_request_are_the_rest() -> None:
    reader = RequestReader()
    assert reader.empty
    assert reader.feed(encode()[:10]) is None
    assert not reader.empty
    assert reader.feed(encode()[10:] + b"\x81\x80\x00\x00\x00\x00") is not None
    assert reader.rest == b"\x81\x80\x00\x00\x00\x00"


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
        "a,b c",
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


@given(st.lists(pieces | st.binary(max_size=10), max_size=14).map(b"".join))
def test_arbitrary_bytes_are_a_request_or_refused(data: bytes) -> None:
    assert status(data) in {0, 505, *range(400, 500)}


@given(st.lists(st.integers(0, len(encode())), max_size=8).map(sorted))
def test_splitting_a_request_changes_nothing(cuts: list[int]) -> None:
    data = encode()
    reader = RequestReader()
    results = [reader.feed(data[start:end]) for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert [result for result in results if result is not None] == [read(data)]


# The upgrade


def upgrade(changes: HeadersLike = (), *, without: str = "") -> Request:
    changed = Headers(changes).fields
    names = {without.lower(), *(name.lower() for name, _ in changed)}
    kept = [(name, value) for name, value in UPGRADE.items() if name.lower() not in names]
    return Request("GET", "/chat", [*kept, *changed])


def test_key_of_a_valid_upgrade_is_returned() -> None:
    assert check_upgrade(read(encode())) == KEY
    assert check_upgrade(upgrade()) == KEY


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (attrs.evolve(upgrade({"Content-Length": "1"}), method="POST", http_version="1.0"), 405),
        (attrs.evolve(upgrade({"Content-Length": "1"}), http_version="1.0"), 505),
        (upgrade({"Content-Length": "1"}, without="Upgrade"), 400),
        (upgrade({"Sec-WebSocket-Key": "x"}, without="Upgrade"), 426),
        (upgrade({"Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "8"}), 426),
        (upgrade({"Sec-WebSocket-Key": "x"}, without="Sec-WebSocket-Version"), 400),
    ],
)
def test_refusals_come_in_their_order(request_: Request, status: int) -> None:
    assert refuse_upgrade(request_).status == status


@pytest.mark.parametrize("method", ["get", "Get", "", b"GET", None, 5])
def test_odd_method_is_refused(method: object) -> None:
    assert refuse_upgrade(attrs.evolve(upgrade(), method=method)).status == 405


@pytest.mark.parametrize("version", ["2", "2.0", "3", "", "11", b"1.1", None, 1.1], ids=repr)
def test_odd_http_version_is_refused(version: object) -> None:
    assert refuse_upgrade(attrs.evolve(upgrade(), http_version=version)).status == 505


@pytest.mark.parametrize(
    "field", [(b"Upgrade", b"websocket"), (None, "x"), ("X", None), ("X", b"x"), (5, 6)], ids=repr
)
def test_odd_types_in_the_header_are_400(field: tuple[str, str]) -> None:
    odd = Request("GET", "/", [*UPGRADE.items(), field])
    assert refuse_upgrade(odd).status == 400
    with pytest.raises(ConnectionRejected) as caught:
        offered_subprotocols(odd)
    assert caught.value.response.status == 400


@pytest.mark.parametrize("name", UPGRADE)
@pytest.mark.parametrize("value", ["", "\ud800", "\u212a", "\uff11\uff13", "\r\nX: y", "\x00", "a" * 100_000, ",", "/"])
def test_odd_strings_in_the_header_are_refused(name: str, value: str) -> None:
    assert refuse_upgrade(upgrade({name: value})).status in (400, 426)


def test_no_other_script_spells_websocket() -> None:
    assert refuse_upgrade(upgrade({"Upgrade": "websoc\u212aet"})).status == 400


@given(st.dictionaries(st.sampled_from(sorted(UPGRADE)), st.text(max_size=30)), st.text(max_size=5), st.text(max_size=5))
def test_arbitrary_values_end_in_a_key_or_a_refusal(fields: dict[str, str], method: str, version: str) -> None:
    for request in (Request("GET", "/", UPGRADE | fields), Request(method, "/", UPGRADE, version)):
        try:
            assert check_upgrade(request) == KEY
        except ConnectionRejected as rejected:
            encode_response(rejected.response)


# Subprotocols


def test_no_subprotocols_are_offered() -> None:
    assert offered_subprotocols(upgrade()) == ()


def test_offered_subprotocols_keep_their_order_across_fields() -> None:
    offer = [("Sec-WebSocket-Protocol", "b, a"), ("sec-websocket-protocol", "c")]
    assert offered_subprotocols(upgrade(offer)) == ("b", "a", "c")


@pytest.mark.parametrize("value", ["", ",", "a b", "a, a", "\xe9", '"a"', "a;b"])
def test_malformed_or_repeated_offer_is_400(value: str) -> None:
    with pytest.raises(ConnectionRejected) as caught:
        offered_subprotocols(upgrade({"Sec-WebSocket-Protocol": value}))
    assert caught.value.response.status == 400


def test_subprotocols_differ_by_case() -> None:
    assert offered_subprotocols(upgrade({"Sec-WebSocket-Protocol": "a, A"})) == ("a", "A")
    assert check_subprotocol_names(["a", "A"]) == ("a", "A")


def test_subprotocol_names_become_a_tuple() -> None:
    assert check_subprotocol_names(iter(["chat", "v1.json"])) == ("chat", "v1.json")


@pytest.mark.parametrize("names", ["chat", [""], ["a b"], ["a,b"], ["a", "a"], ["\xe9"], [b"a"], [None], ["a\r\nB: c"]])
def test_bad_subprotocol_names_are_an_error(names: object) -> None:
    with pytest.raises(LocalHandshakeError, match="subprotocol"):
        check_subprotocol_names(cast("list[str]", names))


# The 101


def test_accepting_response_names_the_subprotocol_and_keeps_the_caller_fields() -> None:
    response = accept_response(KEY, subprotocol="chat", headers=[("Set-Cookie", "a"), ("Set-Cookie", "b")])
    assert response.status == 101
    assert response.headers.fields == (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(KEY)),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
    )


def test_response_101_is_just_its_head() -> None:
    response = attrs.evolve(accept_response(KEY, subprotocol=None, headers={"X": "y"}), body=b"body")
    assert encode_response(response, date="now") == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX: y\r\n\r\n"
    )


@pytest.mark.parametrize(
    "name",
    ["upgrade", "Connection", "Sec-WebSocket-Accept", "SEC-WEBSOCKET-X", "Content-Length", "Transfer-Encoding"],
)
def test_field_of_the_handshake_in_the_caller_headers_is_an_error(name: str) -> None:
    with pytest.raises(LocalHandshakeError, match=f"'{name}' is the handshake's own"):
        accept_response(KEY, subprotocol=None, headers={name: "x"})


@pytest.mark.parametrize("headers", [None, 5, "abc", ["ab", "abc"], [("a", "b", "c")], [5]])
def test_headers_of_a_wrong_shape_are_an_error(headers: object) -> None:
    with pytest.raises(LocalHandshakeError, match="a mapping, or pairs"):
        accept_response(KEY, subprotocol=None, headers=cast("HeadersLike", headers))


@pytest.mark.parametrize("subprotocol", ["", "a b", "a,b", "a\r\nX: y", "\xe9", 5])
def test_bad_subprotocol_is_not_accepted(subprotocol: object) -> None:
    with pytest.raises(LocalHandshakeError, match="subprotocol"):
        accept_response(KEY, subprotocol=cast("str", subprotocol), headers=())


# Other responses


def test_response_gets_the_fields_that_end_the_exchange() -> None:
    assert encode_response(Response(200, "fin\xe9"), date="Fri, 20 Nov 2026 19:00:00 GMT") == (
        b"HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 19:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 5\r\nConnection: close\r\n\r\nfin\xc3\xa9"
    )


def test_fields_of_the_response_stay() -> None:
    response = Response(200, b"{}", {"date": "then", "content-type": "application/json"})
    assert encode_response(response, date="now") == (
        b"HTTP/1.1 200 OK\r\ndate: then\r\ncontent-type: application/json\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    )


def test_response_without_a_body_has_length_0() -> None:
    assert encode_response(Response(404)) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


def test_answer_to_head_has_the_length_and_no_body() -> None:
    assert encode_response(Response(200, "fine"), head_only=True) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["Upgrade"], b"Upgrade, close"),
        (["Upgrade, X", "Y"], b"Upgrade, X, Y, close"),
        (["Close"], b"close"),
        (["keep-alive, Upgrade"], b"Upgrade, close"),
    ],
)
def test_connection_keeps_its_options_and_says_close(values: list[str], expected: bytes) -> None:
    data = encode_response(Response(426, headers=[("Connection", value) for value in values]))
    assert [line for line in data.splitlines() if line.lower().startswith(b"connection")] == [b"Connection: " + expected]


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_content_has_no_body_and_no_length(status: int) -> None:
    data = encode_response(Response(status, "ignored"))
    assert data.endswith(b"\r\nConnection: close\r\n\r\n")
    assert b"Content" not in data.partition(b"\r\n")[2]


def test_status_205_has_length_0() -> None:
    data = encode_response(Response(205, "ignored"))
    assert data == b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_status_without_a_phrase_is_sent_without_one() -> None:
    assert encode_response(Response(299)).startswith(b"HTTP/1.1 299 \r\n")


def test_status_may_come_from_the_standard_library() -> None:
    assert encode_response(Response(HTTPStatus.IM_A_TEAPOT)).startswith(b"HTTP/1.1 418 I'm a Teapot\r\n")


@pytest.mark.parametrize("status", [0, 99, 100, 102, 103, 199, 600, 999, -200, True, "200", None, 200.0])
def test_other_status_is_not_sent(status: object) -> None:
    with pytest.raises(LocalHandshakeError, match="status 101 or 200 to 599"):
        encode_response(Response(cast("int", status)))


@pytest.mark.parametrize("status", [101, 200, 204])
@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_length_that_the_caller_gives_is_not_sent(status: int, name: str) -> None:
    with pytest.raises(LocalHandshakeError, match=name):
        encode_response(Response(status, headers={name: "5"}))


@pytest.mark.parametrize("status", [101, 200])
@pytest.mark.parametrize("control", [*(chr(code) for code in range(32) if code != 9), "\x7f"])
def test_control_character_in_a_response_is_not_sent(status: int, control: str) -> None:
    for fields in ({"X": f"a{control}b"}, {f"X{control}": "y"}, {"Connection": f"a{control}b"}):
        with pytest.raises(LocalHandshakeError):
            encode_response(Response(status, headers=fields))
    with pytest.raises(LocalHandshakeError):
        encode_response(Response(200), date=f"a{control}b")


def test_malformed_connection_is_not_sent() -> None:
    with pytest.raises(LocalHandshakeError, match="'Connection': 'a b' is not a token"):
        encode_response(Response(200, headers={"Connection": "a b"}))


@pytest.mark.parametrize("body", [5, None, ["x"]])
def test_body_that_is_not_bytes_is_not_sent(body: object) -> None:
    with pytest.raises(LocalHandshakeError, match="the body of a response"):
        encode_response(Response(200, cast("bytes", body)))


@pytest.mark.parametrize("body", [bytearray(b"abc"), memoryview(b"abc")])
def test_body_may_be_any_bytes(body: object) -> None:
    assert encode_response(Response(200, cast("bytes", body))).endswith(b"\r\n\r\nabc")
