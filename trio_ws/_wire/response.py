"""A response of this server as the bytes that go out; behind everything but a 101 the connection closes."""

from __future__ import annotations

from collections.abc import Iterator

from .._errors import LocalHandshakeError
from .._values import Response, quote
from .head import check_fields, encode_head, parse_tokens

__all__ = ["encode_response"]

#: RFC 9110 §15.2, §15.3.5, §15.3.6, §15.4.5: these have no content, and all but 205 no Content-Length.
_WITHOUT_BODY = {101, 204, 205, 304}
_WITHOUT_LENGTH = _WITHOUT_BODY - {205}


def encode_response(response: Response, *, head_only: bool = False, date: str | None = None) -> bytes:
    """Return the bytes of a response, head and body.

    A 101 goes out as it is, without a body. To every other the fields are added that end the exchange:
    ``Date``, ``Content-Type``, ``Content-Length``, and ``close`` in ``Connection``.

    Args:
        response: What to send. A body where HTTP allows none is left out.
        head_only: Leave out the body but not its length: this answers a HEAD request.
        date: The value for ``Date``, used where the response has none.

    Raises:
        LocalHandshakeError: The status is neither 101 nor 200 to 599, a field may not be sent, or one
            says how long the body is, which is for this function to say.
    """
    status = _check_status(response.status)
    fields = check_fields(response.headers.fields)
    for name, _ in fields:
        if name.lower() in ("content-length", "transfer-encoding"):
            raise LocalHandshakeError(f"the header field {quote(name)} is added by itself, where it belongs")
    body = b"" if status in _WITHOUT_BODY else _check_body(response.body)
    if status != 101:
        fields = list(_closing_fields(status, fields, body, date))
    head = encode_head(f"HTTP/1.1 {status} {response.phrase}", fields)
    return head if head_only else head + body


def _check_status(status: object) -> int:
    if not isinstance(status, int) or not (status == 101 or 200 <= status <= 599):
        raise LocalHandshakeError(f"a response has the status 101 or 200 to 599, not {quote(status)}")
    return int(status)


def _check_body(body: object) -> bytes:
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise LocalHandshakeError(f"the body of a response is str or bytes, not {type(body).__name__}")
    return bytes(body)


def _closing_fields(
    status: int, fields: list[tuple[str, str]], body: bytes, date: str | None
) -> Iterator[tuple[str, str]]:
    """The caller's fields, and those that HTTP wants besides."""
    names = {name.lower() for name, _ in fields}
    if date is not None and "date" not in names:
        yield "Date", date
    yield from ((name, value) for name, value in fields if name.lower() != "connection")
    if body and "content-type" not in names:
        yield "Content-Type", "text/plain; charset=utf-8"
    if status not in _WITHOUT_LENGTH:
        yield "Content-Length", str(len(body))
    yield "Connection", _with_close([value for name, value in fields if name.lower() == "connection"])


def _with_close(values: list[str]) -> str:
    """``Connection`` with ``close`` at its end; other options, such as the ``Upgrade`` of a 426, stay."""
    try:
        options = parse_tokens(values)
    except ValueError as error:
        raise LocalHandshakeError(f"the header field 'Connection': {error}") from None
    return ", ".join([*(option for option in options if option.lower() not in ("close", "keep-alive")), "close"])
