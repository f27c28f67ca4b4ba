"""Responses of the server as bytes."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

import pytest

from trio_ws._errors import LocalHandshakeError
from trio_ws._values import Response
from trio_ws._wire.server_handshake import encode_response


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
    assert [line for line in data.splitlines() if line.lower().startswith(b"connection")] == [
        b"Connection: " + expected
    ]


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
