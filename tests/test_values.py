"""The values that travel through the API."""

from __future__ import annotations

import pytest

from trio_ws import CloseReason, ConnectionClosedError, ConnectionRejected, Headers, Request, Response
from trio_ws._values import quote


def test_headers_compare_names_without_case_and_join_repeated_fields() -> None:
    headers = Headers([("Accept", "a"), ("X", "1"), ("accept", "b")])
    assert headers["ACCEPT"] == "a, b"
    assert headers.get_all("accept") == ("a", "b")
    assert headers.get("missing") is None
    with pytest.raises(KeyError):
        headers["missing"]
    assert list(headers) == ["accept", "x"]
    assert len(headers) == 2
    assert "x" in headers
    assert repr(headers) == "Headers([('Accept', 'a'), ('X', '1'), ('accept', 'b')])"
    assert headers == Headers([("Accept", "a"), ("X", "1"), ("accept", "b")])


def test_headers_take_a_mapping_too() -> None:
    assert Headers({"A": "1"}).fields == (("A", "1"),)
    assert Request("GET", "/", {"A": "1"}).headers == Headers({"A": "1"})
    assert Headers(Headers({"A": "1"})) == Headers([["A", "1"]])


def test_request_splits_its_target() -> None:
    request = Request("GET", "/chat?room=1&x=?")
    assert (request.path, request.query) == ("/chat", "room=1&x=?")
    assert (Request("GET", "/").path, Request("GET", "/").query) == ("/", "")


def test_response_encodes_text_and_describes_itself() -> None:
    assert Response(200, "é").body == "é".encode()
    assert Response(404, "Nothing\nhere.\n").describe() == r"404 Not Found: 'Nothing\nhere.'"
    assert Response(204).describe() == "204 No Content"
    assert Response(599).describe() == "599"
    assert Response(200, "<p>", {"Content-Type": "text/html"}).describe() == "200 OK"
    assert str(ConnectionRejected(Response(403))) == "the opening handshake was answered with 403 Forbidden"


def test_quote_escapes_and_cuts() -> None:
    assert quote("a\r\n\x1b[31m€") == r"'a\r\n\x1b[31m\u20ac'"
    assert quote("x" * 200, 3) == "'xxx'... (200 characters)"


@pytest.mark.parametrize(
    ("reason", "code", "ok", "text"),
    [
        (CloseReason(), 1006, False, "the connection ended without a closing handshake"),
        (
            CloseReason(sent_code=1000, received_code=1000, closed_by="local"),
            1000,
            True,
            "we closed with 1000 (normal closure)",
        ),
        (
            CloseReason(sent_code=1001, sent_reason="bye", closed_by="local"),
            1001,
            True,
            "we closed with 1001 (going away): 'bye', without an answer",
        ),
        (
            CloseReason(sent_code=1000, received_code=1011, closed_by="local"),
            1000,
            False,
            "we closed with 1000 (normal closure), the peer answered 1011 (internal error)",
        ),
        (
            CloseReason(received_code=4000, received_reason="a\nb", sent_code=4000, closed_by="remote"),
            4000,
            False,
            r"the peer closed with 4000: 'a\nb'",
        ),
        (
            CloseReason(received_code=1005, sent_code=1005, closed_by="remote"),
            1005,
            True,
            "the peer closed with 1005 (no status received)",
        ),
    ],
)
def test_close_reason_says_what_happened(reason: CloseReason, code: int, ok: bool, text: str) -> None:
    assert (reason.code, reason.ok, str(reason)) == (code, ok, text)
    assert str(ConnectionClosedError(reason)) == text
