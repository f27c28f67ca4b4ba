"""The client's side of the opening handshake: the request to send, and what to make of the answer (RFC 6455 §4.1)."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence

import h11

from .._errors import ConnectionRejected, LocalHandshakeError, RemoteHandshakeError
from .._options import Deflate
from .._values import HeadersLike, Request, Response, quote
from .authority import split_authority
from .extensions import EXTENSIONS, check_answer, make_offer
from .head import HeadBuffer, HeadError, encode_head, parse_protocols, parse_tokens
from .upgrade import SUBPROTOCOL, VERSION, accept_key, check_caller_fields, check_subprotocol_names

__all__ = ["MAX_BODY", "ClientHandshake"]

#: Bytes kept of the body of an answer other than 101.
MAX_BODY = 2**20
#: Answers with a status of 1xx that are skipped; RFC 9110 §15.2 sets no bound.
_MAX_INFORMATIONAL = 16
#: Printable ASCII from a slash on, without space and "#".
_TARGET = re.compile('/[!"$-~]*')


class ClientHandshake:
    """One opening handshake: :attr:`data` goes out, :meth:`feed` takes what comes back.

    Args:
        host: The value of ``Host``: a name or address, and the port where it is not the default one.
        target: Path and query, percent-encoded.
        subprotocols: Those offered, the preferred one first.
        headers: Further fields, for example ``Authorization``.
        user_agent: The value of ``User-Agent``, or None for none.
        origin: The value of ``Origin``, or None for none: only browsers have to send it.
        compression: What to offer (RFC 7692 §7), or None for nothing.

    Raises:
        LocalHandshakeError: Something of this may not be sent, or a field is the handshake's own.
    """

    def __init__(
        self,
        *,
        host: str,
        target: str,
        subprotocols: Sequence[str] = (),
        headers: HeadersLike = (),
        user_agent: str | None = None,
        origin: str | None = None,
        compression: Deflate | None = None,
    ) -> None:
        # RFC 6455 §4.1, item 7: 16 random bytes, new for each connection.
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._offered = check_subprotocol_names(subprotocols)
        own = {"Host": _check_host(host), "Upgrade": "websocket", "Connection": "Upgrade"}
        own |= {"Sec-WebSocket-Key": self._key, "Sec-WebSocket-Version": VERSION}
        self._compression = compression
        optional = {
            "Origin": origin,
            SUBPROTOCOL: ", ".join(self._offered) or None,
            EXTENSIONS: make_offer(compression),
            "User-Agent": user_agent,
        }
        own |= {name: value for name, value in optional.items() if value is not None}
        fields = [*own.items(), *check_caller_fields(headers, own)]
        self.data = encode_head(f"GET {_check_target(target)} HTTP/1.1", fields)
        self.request = Request("GET", target, fields)
        #: What came behind the 101: the server's first frames.
        self.rest = b""
        self._http = _http_parser()
        self._head = HeadBuffer()
        self._informational = 0
        self._rejected: _Body | None = None

    def feed(self, data: bytes) -> Response | None:
        """Take in bytes, ``b""`` for their end; return the 101 once it is complete.

        Raises:
            ConnectionRejected: The answer is another one; its body is kept up to :data:`MAX_BODY`.
            RemoteHandshakeError: The answer is not what HTTP or RFC 6455 §4.1 ask for, or incomplete.
        """
        if self._rejected is not None:
            self._rejected.feed(data)
            return None
        if not data:
            raise RemoteHandshakeError(
                "the server closed the connection without an answer"
                if self._head.empty and not self._informational
                else "the server closed the connection amid its answer"
            )
        return self._feed_head(data)

    def cut(self) -> None:
        """Nothing more will come, and not because the server said so; see what came so far.

        Raises:
            ConnectionRejected: That is a rejection, of which only the end of the body is missing.
        """
        if self._rejected is not None:
            self._rejected.feed(b"")

    def _feed_head(self, data: bytes) -> Response | None:
        while data:
            try:
                head = self._head.feed(data)
            except HeadError as error:
                raise RemoteHandshakeError(f"the server's answer was not understood: {error}") from None
            if head is None:
                return None
            response, version = self._parse(head)
            data = self._head.rest
            if response.status == 101:
                self.rest = data
                return self._check(response, version)
            if response.status >= 200:
                self._rejected = _Body(self._http, response)
                self._rejected.start(data)
                return None
            self._skip_informational()
        return None

    def _parse(self, head: bytes) -> tuple[Response, bytes]:
        self._http.receive_data(head)
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise RemoteHandshakeError(f"the server's answer was not understood: {quote(error)}") from None
        assert isinstance(event, (h11.InformationalResponse, h11.Response))  # HeadBuffer gives whole heads only
        fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
        return Response(event.status_code, headers=fields), event.http_version

    def _skip_informational(self) -> None:
        """RFC 9110 §15.2: a client skips every 1xx that it did not expect, such as 103."""
        self._informational += 1
        if self._informational > _MAX_INFORMATIONAL:
            raise RemoteHandshakeError(f"the server sent more than {_MAX_INFORMATIONAL} answers of status 1xx")
        self._head = HeadBuffer()

    def _check(self, response: Response, version: bytes) -> Response:
        """RFC 6455 §4.1, the list of what a client must validate."""
        if version != b"1.1":
            raise RemoteHandshakeError(f"the server answered in HTTP/{version.decode('ascii')}, not HTTP/1.1")
        _check_upgrade_fields(response)
        accepts = response.headers.get_all("Sec-WebSocket-Accept")
        if [accept.strip(" \t") for accept in accepts] != [accept_key(self._key)]:
            shown = quote(", ".join(accepts)) if accepts else "nothing"
            raise RemoteHandshakeError(f"Sec-WebSocket-Accept does not answer our key: {shown}")
        self._check_extensions(response)
        self._check_subprotocol(response)
        return response

    def _check_extensions(self, response: Response) -> None:
        try:
            check_answer(response.headers.get_all(EXTENSIONS), self._compression)
        except ValueError as error:
            raise RemoteHandshakeError(f"{EXTENSIONS} is not an answer to our offer: {error}") from None

    def _check_subprotocol(self, response: Response) -> None:
        chosen = response.headers.get_all(SUBPROTOCOL)
        if chosen and (len(chosen) > 1 or chosen[0] not in self._offered):
            raise RemoteHandshakeError(f"the server chose a subprotocol not offered: {quote(', '.join(chosen))}")


def _check_host(host: object) -> str:
    try:
        if isinstance(host, str):
            split_authority(host)
            return host
    except ValueError:
        pass
    raise LocalHandshakeError(f"{quote(host)} is not a host and port")


def _check_target(target: object) -> str:
    """RFC 6455 §3 and RFC 9112 §3.2.1: a path, perhaps a query, and no fragment."""
    if isinstance(target, str) and _TARGET.fullmatch(target):
        return target
    raise LocalHandshakeError(f"{quote(target)} is not a path and query, percent-encoded and without a fragment")


def _http_parser() -> h11.Connection:
    """h11 as it stands after an upgrade was requested; it needs to know no more of the request than that."""
    http = h11.Connection(h11.CLIENT)
    fields = [("Host", "localhost"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    http.send(h11.Request(method="GET", target="/", headers=fields))
    http.send(h11.EndOfMessage())
    return http


def _check_upgrade_fields(response: Response) -> None:
    try:
        protocols = parse_protocols(response.headers.get_all("Upgrade"))
        options = parse_tokens(response.headers.get_all("Connection"))
    except ValueError as error:
        raise RemoteHandshakeError(f"the Upgrade or Connection header is malformed: {error}") from None
    # RFC 6455 §4.1: this protocol and no other; a second one would be layered upon it.
    if not protocols or any(protocol.lower() != "websocket" for protocol in protocols):
        raise RemoteHandshakeError("the Upgrade header of the 101 is not 'websocket'")
    if "upgrade" not in (option.lower() for option in options):
        raise RemoteHandshakeError("the Connection header of the 101 does not list 'Upgrade'")


class _Body:
    """Collects the body of an answer other than 101; whatever ends it, the answer is raised with what there is."""

    def __init__(self, http: h11.Connection, response: Response) -> None:
        self._http = http
        self._response = response
        self._body = bytearray()
        self._received = 0

    def start(self, data: bytes) -> None:
        """Take what came with the head: nothing of it is not the end yet, and the body may need no byte at all."""
        if data:
            self.feed(data)
        else:
            self._advance()

    def feed(self, data: bytes) -> None:
        """Take in bytes, ``b""`` for their end; raise ConnectionRejected once there is all of the body."""
        self._received += len(data)
        self._http.receive_data(data)
        self._advance()

    def _advance(self) -> None:
        try:
            while isinstance(event := self._http.next_event(), h11.Data):
                self._body += event.data
        except h11.RemoteProtocolError:
            event = h11.EndOfMessage()  # the body is broken or cut off: there will be no more of it
        # A body in tiny chunks is mostly framing, so the bytes that carry it are bounded too.
        if event is not h11.NEED_DATA or len(self._body) > MAX_BODY or self._received > 2 * MAX_BODY:
            response = Response(self._response.status, bytes(self._body[:MAX_BODY]), self._response.headers)
            raise ConnectionRejected(response)
