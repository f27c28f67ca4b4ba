"""What an open connection has to say: the events that bytes from the peer become, and the close frame of each side."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from .._errors import LocalProtocolError
from .._values import quote

__all__ = ["Close", "Event", "Failure", "Piece", "Ping", "Pong", "Role", "check_close", "not_utf8"]

Role: TypeAlias = Literal["client", "server"]


@attrs.frozen
class Piece:
    """A part of a message that did not arrive in one frame and one read."""

    data: str | bytes
    finished: bool


@attrs.frozen
class Ping:
    payload: bytes


@attrs.frozen
class Pong:
    payload: bytes


@attrs.frozen
class Close:
    """A close frame: the peer's, or ours. Code 1005 stands for a frame without a code (RFC 6455 §7.1.5)."""

    code: int = attrs.field(converter=int)
    reason: str = ""


@attrs.frozen
class Failure:
    """The peer broke the protocol or a limit: the connection has to be failed with this code (RFC 6455 §7.1.7)."""

    code: int
    reason: str


#: A whole message is its plain ``str`` or ``bytes``; everything rarer has a class.
Event: TypeAlias = "str | bytes | Piece | Ping | Pong | Close | Failure"

#: A close frame's payload is at most 125 bytes, two of them the code (RFC 6455 §5.5).
_MAX_REASON = 123


def _may_be_sent(code: int) -> bool:
    """RFC 6455 §7.4.2 and the IANA registry: 1004 to 1006 and 1015 to 2999 never stand in a frame."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def check_close(code: object, reason: object) -> None:
    """Raise :exc:`LocalProtocolError` unless a close frame may carry this code and reason."""
    if isinstance(code, bool) or not isinstance(code, int) or not _may_be_sent(code):
        raise LocalProtocolError(
            f"close code {code!r} may not be sent; use 1000 to 1003, 1007 to 1014, or your own from 3000 to 4999"
        )
    if not isinstance(reason, str):
        raise LocalProtocolError(f"a close reason is a str, not {type(reason).__name__}")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in reason):
        raise LocalProtocolError(f"a close reason may not contain control characters: {quote(reason)}")
    try:
        size = len(reason.encode())
    except UnicodeEncodeError as exc:
        raise not_utf8(reason, "a close reason") from exc
    if size > _MAX_REASON:
        raise LocalProtocolError(f"a close reason is at most {_MAX_REASON} bytes of UTF-8, not {size}: {quote(reason)}")


def not_utf8(text: str, what: str) -> LocalProtocolError:
    return LocalProtocolError(f"{what} must be encodable as UTF-8 (RFC 6455 §5.6), {quote(text)} is not")
