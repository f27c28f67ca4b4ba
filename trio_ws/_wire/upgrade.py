"""What both sides of the opening handshake share: the key, its answer, and what a program may put in itself."""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable

from .._errors import ConnectionRejected, LocalHandshakeError
from .._values import Headers, HeadersLike, Request, Response, quote
from .head import check_fields, is_token

__all__ = [
    "SUBPROTOCOL",
    "VERSION",
    "accept_key",
    "check_caller_fields",
    "check_subprotocol_names",
    "check_types",
    "field_values",
    "is_key",
    "rejection",
]

#: RFC 6455 §4.1: the only version there is.
VERSION = "13"
SUBPROTOCOL = "Sec-WebSocket-Protocol"
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: 16 bytes are 21 digits of base64 and 2 bits, behind which the one canonical spelling has zeros (RFC 4648 §3.5).
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that answers this ``Sec-WebSocket-Key`` (RFC 6455 §4.2.2)."""
    # The RFC prescribes SHA-1. It proves that the server speaks WebSocket and protects no secret.
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()


def is_key(key: str) -> bool:
    """Whether this is the base64 of 16 bytes (RFC 6455 §4.2.1), in the one canonical spelling."""
    return _KEY.fullmatch(key) is not None


def check_subprotocol_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of subprotocols that this program gave, as ``str`` itself, if they may be sent (RFC 6455 §4.1).

    Raises:
        LocalHandshakeError: One is not a token, or stands there twice.
    """
    if isinstance(names, str):
        raise LocalHandshakeError(f"subprotocols are a list of names, not the string {quote(names)}")
    checked = tuple(names)
    for name in checked:
        if not is_token(name):
            raise LocalHandshakeError(f"the subprotocol {quote(name)} is not a token")
    if len(set(checked)) != len(checked):
        raise LocalHandshakeError(f"a subprotocol stands there twice: {quote(', '.join(checked))}")
    return tuple([str.__str__(name) for name in checked])


def check_caller_fields(headers: HeadersLike, own: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return the fields that a caller adds to our head, if they may be sent and leave the handshake's own alone.

    Args:
        headers: The caller's.
        own: Further names that the caller may not use.

    Raises:
        LocalHandshakeError: One may not be sent, or is the handshake's own.
    """
    try:
        fields = check_fields((headers if isinstance(headers, Headers) else Headers(headers)).fields)
    except (TypeError, ValueError):
        raise LocalHandshakeError("headers are a mapping, or pairs of name and value") from None
    if not fields:
        return fields
    taken = {"upgrade", "connection", "content-length", "transfer-encoding", *(name.lower() for name in own)}
    for name, _ in fields:
        if name.lower() in taken or name.lower().startswith("sec-websocket-"):
            raise LocalHandshakeError(f"the header field {quote(name)} is the handshake's own")
    return fields


def rejection(status: int, text: str, headers: HeadersLike = ()) -> ConnectionRejected:
    """A refusal that a person can read. What a peer sent stands in ``text`` only in quotes."""
    return ConnectionRejected(Response(status, f"{text}\n", headers))


def field_values(request: Request, name: str) -> tuple[str, ...]:
    """The values of every field called ``name``, without the whitespace around them (RFC 9110 §5.5).

    Raises:
        ConnectionRejected: 400, one of them is not a str.
    """
    values = request.headers.get_all(name)
    if not values:
        return ()
    check_types(values)
    return tuple([value.strip(" \t") for value in values])


def check_types(texts: Iterable[object]) -> None:
    """See to it that names and values are str.

    Raises:
        ConnectionRejected: 400, one is not. No peer can bring that about, but requests come from other frameworks too.
    """
    kinds = set(map(type, texts))
    if kinds != {str} and not all(issubclass(kind, str) for kind in kinds):
        raise rejection(400, "Names and values of header fields must be str.")
