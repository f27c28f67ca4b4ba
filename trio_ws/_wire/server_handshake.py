"""The server's side of the opening handshake: from bytes to a request, and from a request to its answer.

:class:`RequestReader` takes every well-formed HTTP request, so that hooks can answer what is no WebSocket;
:func:`check_upgrade` is RFC 6455 §4.2.1 and takes nothing else. Both refuse with the response to send.
"""

from __future__ import annotations

from itertools import chain

import attrs
import h11

from .._errors import ConnectionRejected, LocalHandshakeError
from .._options import Deflate
from .._values import HeadersLike, Request, Response, quote
from .authority import split_authority
from .extensions import EXTENSIONS, answer_offers
from .head import HeadBuffer, HeadError, LineTooLong, MalformedHead, is_token, parse_protocols, parse_tokens
from .response import encode_response
from .upgrade import (
    SUBPROTOCOL,
    VERSION,
    accept_key,
    check_caller_fields,
    check_subprotocol_names,
    check_types,
    field_values,
    is_key,
    rejection,
)
from .usual_request import read_usual, usual_key

__all__ = [
    "RequestReader",
    "accept_key",
    "accept_response",
    "check_caller_fields",
    "check_subprotocol_names",
    "check_upgrade",
    "choose_extensions",
    "encode_response",
    "offered_subprotocols",
]


#: The fields of every 101 (RFC 6455 §4.2.2, items 2 and 3).
_SWITCHING = (("Upgrade", "websocket"), ("Connection", "Upgrade"))


class RequestReader:
    """Collects bytes until one request is complete; what follows it stays untouched in :attr:`rest`."""

    def __init__(self) -> None:
        self._head: HeadBuffer | None = None
        self._request: Request | None = None
        #: Whether no byte has come yet.
        self.empty = True
        #: What came behind the request.
        self.rest = b""

    def feed(self, data: bytes) -> Request | None:
        """Take in bytes; return the request once it is complete.

        Raises:
            ConnectionRejected: With the response to send: 400 malformed, 414 the request line is too
                long, 431 a field, the head or the number of fields is too large, 505 not HTTP/1.x.
        """
        if self.empty and data:
            self.empty = False
            if usual := read_usual(data):
                self._request, self.rest = usual
        if self._request is None:
            self._request = self._feed(data)
        return self._request

    def _feed(self, data: bytes) -> Request | None:
        self._head = self._head or HeadBuffer()
        try:
            head = self._head.feed(data)
        except HeadError as error:
            raise rejection(_status_of(error), f"The request was not understood: {error}.") from None
        self.rest = self._head.rest
        return None if head is None else _parse_request(head)


def _status_of(error: HeadError) -> int:
    if isinstance(error, MalformedHead):
        return 400
    return 414 if isinstance(error, LineTooLong) and error.first_line else 431


def _parse_request(head: bytes) -> Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise rejection(400, f"The request was not understood: {quote(error)}.") from None
    assert isinstance(event, h11.Request)  # HeadBuffer gives whole heads only
    major, _, minor = event.http_version.decode("ascii").partition(".")
    if major != "1":
        raise rejection(505, f"This server speaks HTTP/1.1, not HTTP/{major}.{minor}.")
    fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
    # RFC 9110 §2.5: a later minor version is read as the highest one that we know.
    version = "1.0" if minor == "0" else "1.1"
    request = Request(event.method.decode("ascii"), event.target.decode("ascii"), fields, version)
    host = _check_host(request)
    _check_framing(request)
    return attrs.evolve(request, target=_origin_form(request.method, request.target, host))


def _check_host(request: Request) -> str | None:
    """RFC 9112 §3.2: 400 if Host is missing, doubled or invalid. HTTP/1.0 knew no Host."""
    hosts = field_values(request, "Host")
    if not hosts and request.http_version == "1.0":
        return None
    if len(hosts) != 1:
        raise rejection(400, "The request must have exactly one Host header.")
    try:
        split_authority(hosts[0])
    except ValueError as error:
        raise rejection(400, f"The Host header {quote(hosts[0])} is not valid: {quote(error)}.") from None
    return hosts[0]


def _check_framing(request: Request) -> None:
    """RFC 9112 §6.1: a Transfer-Encoding with a Content-Length, or in HTTP/1.0, is a sign of request smuggling."""
    if "Transfer-Encoding" in request.headers and (
        "Content-Length" in request.headers or request.http_version == "1.0"
    ):
        raise rejection(400, "Where the body ends is ambiguous.")


def _origin_form(method: str, target: str, host: str | None) -> str:
    """Return the request target without scheme and authority; 400 if it has none of the forms of RFC 9112 §3.2."""
    if "#" in target:
        raise rejection(400, "The request target must have no fragment.")
    if method == "CONNECT":
        return _check_authority_form(target)
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target
    scheme, _, rest = target.partition("://")
    if scheme.lower() not in ("http", "https"):
        raise rejection(400, f"The request target {quote(target)} has none of the forms that HTTP knows.")
    end = min(index for index in (rest.find("/"), rest.find("?"), len(rest)) if index >= 0)
    if host is None or rest[:end].lower() != host.lower():
        # RFC 9112 §3.2.2: the target's authority counts, not Host. Who sends two may mean two servers.
        raise rejection(400, "The request target and the Host header name different hosts.")
    return rest[end:] if rest[end:].startswith("/") else f"/{rest[end:]}"


def _check_authority_form(target: str) -> str:
    try:
        _, port = split_authority(target)
    except ValueError:
        port = None
    if port is None:  # RFC 9112 §3.2.3: there is no default
        raise rejection(400, f"CONNECT needs a host and a port, not {quote(target)}.")
    return target


def check_upgrade(request: Request) -> str:
    """Check that this request opens a WebSocket (RFC 6455 §4.2.1); return its ``Sec-WebSocket-Key``.

    Nothing is taken for granted, for the request may come from another framework.

    Raises:
        ConnectionRejected: With the response to send: 405 not GET, 505 not HTTP/1.1, 426 no upgrade to
            WebSocket or to another version of it, 400 all else.
    """
    usual = usual_key(request)
    return _judge_upgrade(request) if usual is None else usual


def _judge_upgrade(request: Request) -> str:
    if request.method != "GET":
        raise rejection(405, f"A WebSocket is opened with GET, not {quote(request.method)}.", {"Allow": "GET"})
    if request.http_version != "1.1":
        raise rejection(505, f"A WebSocket is opened over HTTP/1.1, not HTTP/{quote(request.http_version)}.")
    _check_types(request)
    _check_no_body(request)
    _check_upgrade_fields(request)
    _check_version(request)
    key = _check_key(request)
    _check_host(request)
    return key


def _check_types(request: Request) -> None:
    check_types(chain.from_iterable(request.headers.fields))


def _check_no_body(request: Request) -> None:
    """Refuse a body: its bytes would be taken for frames."""
    lengths = field_values(request, "Content-Length")
    if any(length != "0" for length in lengths) or field_values(request, "Transfer-Encoding"):
        raise rejection(400, "The request that opens a WebSocket must have no body.")


def _upgrade_required(text: str) -> ConnectionRejected:
    # RFC 9110 §15.5.22 wants the Upgrade header, §7.8 Connection with it, RFC 6455 §4.4 the version.
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": VERSION}
    return rejection(426, text, fields)


def _check_upgrade_fields(request: Request) -> None:
    """RFC 6455 §4.2.1, items 3 and 4."""
    upgrade, connection = field_values(request, "Upgrade"), field_values(request, "Connection")
    try:
        protocols = parse_protocols(upgrade)
        options = parse_tokens(connection)
    except ValueError as error:
        raise rejection(400, f"The Upgrade or Connection header is malformed: {error}.") from None
    if "websocket" not in (protocol.lower() for protocol in protocols):
        raise _upgrade_required("This is a WebSocket server: the Upgrade header must list 'websocket'.")
    if "upgrade" not in (option.lower() for option in options):
        raise _upgrade_required("This is a WebSocket server: the Connection header must list 'Upgrade'.")


def _check_version(request: Request) -> None:
    """RFC 6455 §4.2.1, item 6, and §4.4."""
    versions = field_values(request, "Sec-WebSocket-Version")
    if len(versions) != 1 or versions[0] == "" or "," in versions[0]:
        raise rejection(400, "The request must have exactly one Sec-WebSocket-Version.")
    if versions[0] != VERSION:
        raise _upgrade_required(f"Sec-WebSocket-Version must be {VERSION}, not {quote(versions[0])}.")


def _check_key(request: Request) -> str:
    """RFC 6455 §4.2.1, item 5."""
    keys = field_values(request, "Sec-WebSocket-Key")
    if len(keys) != 1:
        raise rejection(400, "The request must have exactly one Sec-WebSocket-Key.")
    if not is_key(keys[0]):
        raise rejection(400, f"Sec-WebSocket-Key must be the base64 of 16 bytes, not {quote(keys[0])}.")
    return keys[0]


def offered_subprotocols(request: Request) -> tuple[str, ...]:
    """Return the subprotocols that the client offers, in its order of preference (RFC 6455 §4.1, item 10).

    Raises:
        ConnectionRejected: 400, the list is empty or malformed, or names one twice.
    """
    _check_types(request)
    values = field_values(request, SUBPROTOCOL)
    if not values:
        return ()
    try:
        names = tuple(parse_tokens(values))
    except ValueError as error:
        raise rejection(400, f"{SUBPROTOCOL} is malformed: {error}.") from None
    if not names or len(set(names)) != len(names):
        raise rejection(400, f"{SUBPROTOCOL} must name at least one subprotocol, and each only once.")
    return names


def choose_extensions(request: Request, compression: Deflate | None) -> str | None:
    """Return the value of ``Sec-WebSocket-Extensions`` that answers the client's, or None for none (RFC 6455 §9.1).

    Raises:
        ConnectionRejected: 400, the client's is malformed.
    """
    values = field_values(request, EXTENSIONS)
    if not values:
        return None
    try:
        return answer_offers(values, compression)
    except ValueError as error:
        raise rejection(400, f"{EXTENSIONS} is malformed: {error}.") from None


def accept_response(
    key: str, *, subprotocol: str | None = None, extensions: str | None = None, headers: HeadersLike = ()
) -> Response:
    """Return the 101 that opens the connection (RFC 6455 §4.2.2).

    Args:
        key: What :func:`check_upgrade` returned.
        subprotocol: One of those that the client offered, or None.
        extensions: What :func:`choose_extensions` returned.
        headers: Further fields, which go behind the handshake's own.

    Raises:
        LocalHandshakeError: The subprotocol is not a token, or a field may not be sent or is the
            handshake's own.
    """
    fields = [*_SWITCHING, ("Sec-WebSocket-Accept", accept_key(key))]
    if subprotocol is not None:
        if not is_token(subprotocol):
            raise LocalHandshakeError(f"the subprotocol {quote(subprotocol)} is not a token")
        fields.append((SUBPROTOCOL, subprotocol))
    if extensions is not None:
        fields.append((EXTENSIONS, extensions))
    return Response(101, headers=[*fields, *check_caller_fields(headers)])
