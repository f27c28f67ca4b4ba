"""The client's side of the opening handshake as bytes: what it sends, and what it makes of any answer."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._errors import ConnectionRejected, LocalHandshakeError, RemoteHandshakeError
from trio_ws._values import HeadersLike, Response
from trio_ws._wire.client_handshake import MAX_BODY, ClientHandshake
from trio_ws._wire.server_handshake import RequestReader, accept_key, check_upgrade, offered_subprotocols


def handshake(**options: Any) -> ClientHandshake:
    return ClientHandshake(**{"host": "example.org", "target": "/chat"} | options)


def accepting(
    client: ClientHandshake, *, line: str = "HTTP/1.1 101 Switching Protocols", **changes: str | None
) -> bytes:
    """The answer that accepts; underscores in the names of ``changes`` are dashes, None leaves a field out."""
    fields: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(client.request.headers["Sec-WebSocket-Key"]),
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def refused(data: bytes, **options: Any) -> str:
    """The text of the error to which this answer leads."""
    with pytest.raises(RemoteHandshakeError) as caught:
        handshake(**options).feed(data)
    return str(caught.value)


def rejected(*pieces: bytes) -> Response:
    """The response with which the last of these pieces, and none before, ends the handshake."""
    client = handshake()
    for piece in pieces[:-1]:
        assert client.feed(piece) is None
    with pytest.raises(ConnectionRejected) as caught:
        client.feed(pieces[-1])
    return caught.value.response


# What is sent


def test_request_is_one_that_the_server_side_accepts() -> None:
    client = handshake(
        target="/chat?room=1",
        subprotocols=["chat", "superchat"],
        headers=[("Cookie", "a=b"), ("X", "1"), ("X", "2")],
        user_agent="trio_ws",
        origin="https://example.org",
    )
    request = RequestReader().feed(client.data)
    assert request == client.request
    assert request.target == "/chat?room=1"
    assert check_upgrade(request) == request.headers["Sec-WebSocket-Key"]
    assert offered_subprotocols(request) == ("chat", "superchat")


def test_fields_stand_in_a_fixed_order_with_the_caller_fields_last() -> None:
    client = handshake(subprotocols=["a"], headers={"X": "y"}, user_agent="z", origin="null")
    assert [name for name, _ in client.request.headers.fields] == [
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Origin",
        "Sec-WebSocket-Protocol",
        "User-Agent",
        "X",
    ]


def test_optional_fields_are_left_out() -> None:
    assert list(handshake().request.headers) == [
        "host",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
    ]


@pytest.mark.parametrize(
    "name", ["host", "Upgrade", "CONNECTION", "Sec-WebSocket-Key", "sec-websocket-x", "Content-Length"]
)
def test_field_of_the_handshake_in_the_caller_headers_is_an_error(name: str) -> None:
    with pytest.raises(LocalHandshakeError, match=f"'{name}' is the handshake's own"):
        handshake(headers={name: "x"})


def test_origin_and_user_agent_are_given_once() -> None:
    assert handshake(headers={"Origin": "a", "User-Agent": "b"}).request.headers["Origin"] == "a"
    with pytest.raises(LocalHandshakeError, match="'Origin' is the handshake's own"):
        handshake(headers={"Origin": "a"}, origin="b")
    with pytest.raises(LocalHandshakeError, match="'user-agent' is the handshake's own"):
        handshake(headers={"user-agent": "a"}, user_agent="b")


@pytest.mark.parametrize("control", [*(chr(code) for code in range(32) if code != 9), "\x7f"])
def test_control_character_in_any_field_is_not_sent(control: str) -> None:
    text = f"/a{control}b"
    for options in (
        {"host": f"example.org{control}"},
        {"target": text},
        {"subprotocols": [text[1:]]},
        {"headers": {"X": text}},
        {"headers": {f"X{control}": "y"}},
        {"user_agent": text},
        {"origin": text},
    ):
        with pytest.raises(LocalHandshakeError):
            handshake(**options)


@pytest.mark.parametrize("host", ["", "a b", "a/b", "user@a", "b\xfccher.example", "a:x", "[::1", None, b"a"])
def test_bad_host_is_not_sent(host: object) -> None:
    with pytest.raises(LocalHandshakeError, match="is not a host and port"):
        handshake(host=host)


@pytest.mark.parametrize("host", ["example.org:8765", "[::1]", "[::1]:8765"])
def test_host_may_have_a_port_or_be_an_address(host: str) -> None:
    assert handshake(host=host).request.headers["Host"] == host


@pytest.mark.parametrize("target", ["", "chat", "*", "http://a/", "/a b", "/a#b", "/#", "/\xe9", "/\t", None, b"/"])
def test_bad_target_is_not_sent(target: object) -> None:
    with pytest.raises(LocalHandshakeError, match="is not a path and query"):
        handshake(target=target)


@pytest.mark.parametrize("names", ["chat", [""], ["a b"], ["a,b"], ["a", "a"], ["\xe9"], [None]])
def test_bad_subprotocols_are_not_sent(names: object) -> None:
    with pytest.raises(LocalHandshakeError, match="subprotocol"):
        handshake(subprotocols=names)


@pytest.mark.parametrize("headers", [None, 5, "abc", [5], {"": "x"}, {"A B": "x"}, {"A": "€"}, {"A": None}, {5: "x"}])
def test_bad_headers_are_not_sent(headers: object) -> None:
    with pytest.raises(LocalHandshakeError):
        handshake(headers=cast("HeadersLike", headers))


# The 101


def test_accepting_answer_is_returned() -> None:
    client = handshake()
    data = accepting(client, X="\xe9")
    assert client.feed(data[:-1]) is None
    response = client.feed(data[-1:])
    assert response is not None
    assert response.status == 101
    assert response.headers["X"] == "\xe9"
    assert client.rest == b""


def test_bytes_behind_the_101_are_the_rest() -> None:
    client = handshake()
    assert client.feed(accepting(client) + b"\x81\x02hi") is not None
    assert client.rest == b"\x81\x02hi"


def test_server_may_choose_one_of_the_subprotocols_offered() -> None:
    client = handshake(subprotocols=["a", "b"])
    assert client.feed(accepting(client, Sec_WebSocket_Protocol="b")) is not None


@pytest.mark.parametrize("count", [1, 16])
def test_informational_answers_are_skipped(count: int) -> None:
    client = handshake()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * count
    assert client.feed(hints[:-1]) is None
    assert client.feed(hints[-1:] + accepting(client) + b"rest") is not None
    assert client.rest == b"rest"


def test_endless_informational_answers_are_refused() -> None:
    assert refused(b"HTTP/1.1 100 \r\n\r\n" * 17) == "the server sent more than 16 answers of status 1xx"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"line": "HTTP/1.0 101 OK"}, "the server answered in HTTP/1.0, not HTTP/1.1"),
        ({"Upgrade": None}, "the Upgrade header of the 101 is not 'websocket'"),
        ({"Upgrade": "h2c"}, "the Upgrade header of the 101 is not 'websocket'"),
        ({"Upgrade": "websocket, h2c"}, "the Upgrade header of the 101 is not 'websocket'"),
        ({"Upgrade": "a b"}, "the Upgrade or Connection header is malformed: 'a b' is not a protocol"),
        ({"Connection": None}, "the Connection header of the 101 does not list 'Upgrade'"),
        ({"Connection": "keep-alive"}, "the Connection header of the 101 does not list 'Upgrade'"),
        ({"Connection": "\xe9"}, "the Upgrade or Connection header is malformed: '\\xe9' is not a token"),
        ({"Sec_WebSocket_Accept": None}, "Sec-WebSocket-Accept does not answer our key: nothing"),
        ({"Sec_WebSocket_Accept": "a\xe9"}, "Sec-WebSocket-Accept does not answer our key: 'a\\xe9'"),
        ({"Sec_WebSocket_Extensions": "permessage-deflate"}, "not an answer to our offer: we offered none"),
        ({"Sec_WebSocket_Extensions": ""}, "not an answer to our offer: the list is empty"),
        ({"Sec_WebSocket_Protocol": "b"}, "the server chose a subprotocol not offered: 'b'"),
        ({"Sec_WebSocket_Protocol": "CHAT"}, "the server chose a subprotocol not offered: 'CHAT'"),
        ({"Sec_WebSocket_Protocol": ""}, "the server chose a subprotocol not offered: ''"),
        ({"Sec_WebSocket_Protocol": "chat\r\nSec-WebSocket-Protocol: chat"}, "a subprotocol not offered: 'chat, chat'"),
    ],
    ids=repr,
)
def test_answer_that_does_not_accept_what_was_asked_is_refused(changes: dict[str, Any], why: str) -> None:
    client = handshake(subprotocols=["chat"])
    with pytest.raises(RemoteHandshakeError) as caught:
        client.feed(accepting(client, **changes))
    assert why in str(caught.value)


def test_doubled_accept_is_refused() -> None:
    client = handshake()
    accept = accept_key(client.request.headers["Sec-WebSocket-Key"])
    with pytest.raises(RemoteHandshakeError, match="does not answer our key"):
        client.feed(accepting(client, sec_websocket_accept=accept))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 101\n\n", "bare LF"),
        (b"HTTP/1.1 1O1 x\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 099 x\r\n\r\n", "status_code"),
        (b"HTTP/1.1 101 x\r\nA : b\r\n\r\n", "illegal header line"),
        (b"HTTP/1.1 101 x\r\nA: b\r\n c\r\n\r\n", "obsolete line folding"),
        (b"HTTP/1.1 403 x\r\nContent-Length: x\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 403 x\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 101 " + b"a" * 8192, "longer than 8192 bytes"),
        (b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 101, "more than 100 header fields"),
        (b"\x15\x03\x03", "the first byte is 0x15"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_answer_that_is_not_http_is_refused(data: bytes, why: str) -> None:
    assert refused(data).startswith("the server's answer was not understood: ")
    assert why in refused(data)


def test_end_before_the_answer_is_refused() -> None:
    assert refused(b"") == "the server closed the connection without an answer"


@pytest.mark.parametrize("partial", [b"HTTP/1.1 101", b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 101"])
def test_end_amid_the_answer_is_refused(partial: bytes) -> None:
    client = handshake()
    assert client.feed(partial) is None
    with pytest.raises(RemoteHandshakeError, match="amid its answer"):
        client.feed(b"")


# Other answers


@pytest.mark.parametrize("status", [200, 204, 302, 304, 401, 403, 426, 503, 999])
def test_any_other_status_is_a_rejection(status: int) -> None:
    response = rejected(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\nLocation: /b\r\n\r\n".encode())
    assert response.status == status
    assert response.headers["Location"] == "/b"
    assert response.body == b""


def test_status_without_content_needs_no_body() -> None:
    assert rejected(b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n").body == b""


def test_body_ends_with_its_length() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n"
    assert rejected(head + b"hello").body == b"hello"
    assert rejected(head, b"he", b"llo, and more").body == b"hello"


def test_body_ends_with_its_last_chunk() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert rejected(head, b"2\r\nhe\r\n3\r", b"\nllo\r\n0\r\n", b"X: y\r\n\r\n").body == b"hello"


def test_body_ends_with_the_connection() -> None:
    for version in (b"1.0", b"1.1"):
        assert rejected(b"HTTP/" + version + b" 403 Forbidden\r\n\r\nhel", b"lo", b"").body == b"hello"


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked", b"Connection: close"])
def test_end_amid_the_body_leaves_what_there_is(framing: bytes) -> None:
    head = b"HTTP/1.1 403 Forbidden\r\n" + framing + b"\r\n\r\n"
    assert rejected(head, b"5\r\nhello", b"").body in (b"5\r\nhello", b"hello")
    assert rejected(head, b"").body == b""


@pytest.mark.parametrize("broken", [b"x\r\n", b"-1\r\n", b"2\r\nabcd", b"f" * 21 + b"\r\n", b"1;" + b"a" * 20000])
def test_broken_chunk_leaves_what_there_is(broken: bytes) -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert rejected(head, broken).body.removesuffix(b"ab") == b"hello"


def test_rejection_may_follow_informational_answers() -> None:
    assert rejected(b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 403 x\r\nContent-Length: 1\r\n\r\ny").body == b"y"


@pytest.mark.parametrize("framing", [b"", b"Content-Length: %d\r\n" % (10 * MAX_BODY)])
def test_body_is_kept_up_to_its_limit(framing: bytes) -> None:
    head = b"HTTP/1.1 403 Forbidden\r\n" + framing + b"\r\n"
    pieces = [b"a" * 2**16] * (MAX_BODY // 2**16)
    assert rejected(head, *pieces, b"b").body == b"a" * MAX_BODY


def test_body_of_exactly_the_limit_is_whole() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % MAX_BODY
    assert rejected(head, b"a" * MAX_BODY).body == b"a" * MAX_BODY


def test_body_in_tiny_chunks_is_not_read_for_ever() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1;" + b"x" * 8000 + b"\r\na\r\n"
    count = 2 * MAX_BODY // len(chunk)
    assert rejected(head, *[chunk] * (count + 1)).body == b"a" * (count + 1)


def result(pieces: list[bytes]) -> object:
    """What comes of these pieces and the end behind them; the key is another one each time, so no Accept fits."""
    client = handshake()
    try:
        for piece in pieces:
            client.feed(piece)
        client.feed(b"")
    except ConnectionRejected as error:
        return error.response
    except RemoteHandshakeError as error:
        return str(error)
    raise AssertionError


fragments = st.sampled_from(
    [
        b"HTTP/1.1 100 \r\n\r\n",
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        b"HTTP/1.1 403 x\r\n",
        b"Sec-WebSocket-Accept: x\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
    ]
)


@settings(deadline=None)
@given(st.lists(fragments | st.binary(max_size=10), max_size=10).map(b"".join), st.data())
def test_arbitrary_answers_give_the_same_documented_result_however_split(whole: bytes, data: st.DataObject) -> None:
    cuts = sorted(set(data.draw(st.lists(st.integers(1, max(1, len(whole) - 1)), max_size=8))))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    expected = result([whole] if whole else [])
    assert result([piece for piece in pieces if piece]) == expected


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "Sec_WebSocket_Accept", "Sec_WebSocket_Protocol", "X"])
def test_any_byte_in_the_answer_is_accepted_or_refused(name: str) -> None:
    for byte in map(chr, range(256)):
        for changes in ({name: byte}, {name: f"a{byte}b"}, {name + byte: "a"}, {byte: "a"}):
            client = handshake()
            try:
                response = client.feed(accepting(client, **changes))
            except RemoteHandshakeError:
                continue
            assert response is not None
