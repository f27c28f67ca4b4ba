"""The frozen values that travel through the API: requests, responses, headers, and why a connection closed."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Literal, TypeAlias, overload

import attrs

__all__ = ["CloseCode", "CloseReason", "Headers", "HeadersLike", "Request", "Response", "quote"]

#: What may be given where headers are asked for.
HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]


def quote(text: object, limit: int = 100) -> str:
    """Text from a peer as it may stand in a log line or an error: escaped to printable ASCII, and cut."""
    text = str(text)
    escaped = ascii(text[:limit])
    return escaped if len(text) <= limit else f"{escaped}... ({len(text)} characters)"


class CloseCode(enum.IntEnum):
    """The close codes that have a registered meaning (RFC 6455 §7.4.1 and the IANA registry)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    #: Never on the wire: the peer's close frame held no code.
    NO_STATUS_RECEIVED = 1005
    #: Never on the wire: the connection ended without a close frame.
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    #: Never on the wire: TLS failed.
    TLS_HANDSHAKE = 1015


#: Codes with which a connection ends on purpose.
_CODES_OK = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)


def _describe_code(code: int) -> str:
    try:
        return f"{code} ({CloseCode(code).name.lower().replace('_', ' ')})"
    except ValueError:
        return str(code)


@attrs.frozen(kw_only=True)
class CloseReason:
    """Why a connection closed. There is one for each connection, and it never changes."""

    #: The code in our close frame, or None if we sent none. If the stream failed while the frame was waiting behind
    #: another one, the peer has not seen it.
    sent_code: int | None = None
    #: The text that went with it.
    sent_reason: str = ""
    #: The code in the peer's close frame (1005 if the frame held none), or None if none came.
    received_code: int | None = None
    #: The text that came with it.
    received_reason: str = ""
    #: Who sent the first close frame; None if the connection ended without one.
    closed_by: Literal["local", "remote"] | None = None

    @property
    def code(self) -> int:
        """The code of whoever closed first; 1006 if nobody did (RFC 6455 §7.1.5)."""
        code = self.sent_code if self.closed_by == "local" else self.received_code
        return CloseCode.ABNORMAL_CLOSURE if code is None else code

    @property
    def reason(self) -> str:
        """The text that goes with :attr:`code`, often empty (RFC 6455 §7.1.6)."""
        return self.sent_reason if self.closed_by == "local" else self.received_reason

    @property
    def ok(self) -> bool:
        """Whether the connection was closed on purpose: every code that was exchanged is 1000, 1001 or none."""
        codes = [code for code in (self.sent_code, self.received_code) if code is not None]
        return bool(codes) and all(code in _CODES_OK for code in codes)

    def __str__(self) -> str:
        if self.closed_by is None:
            return "the connection ended without a closing handshake"
        who = "we" if self.closed_by == "local" else "the peer"
        text = f"{who} closed with {_describe_code(self.code)}"
        if self.reason:
            text += f": {quote(self.reason, 123)}"
        if self.closed_by == "local":
            if self.received_code is None:
                text += ", without an answer"
            elif self.received_code != self.sent_code:
                text += f", the peer answered {_describe_code(self.received_code)}"
        return text


def _header_pairs(headers: HeadersLike) -> tuple[tuple[str, str], ...]:
    if isinstance(headers, Headers):
        return headers.fields
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    # A pair that many requests share stays shared.
    return tuple([pair if type(pair) is tuple and len(pair) == 2 else _pair(pair) for pair in pairs])


def _pair(pair: tuple[str, str]) -> tuple[str, str]:
    name, value = pair
    return name, value


#: Names as they are looked for, by the names that are often sent: no copy of them for each connection.
_LOWER = {
    name: name.lower()
    for lower in (
        *("accept-encoding", "accept-language", "cache-control", "connection", "cookie", "host", "origin", "pragma"),
        *("sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-protocol"),
        *("sec-websocket-version", "server", "upgrade", "user-agent"),
    )
    for name in (lower, lower.title(), lower.title().replace("Websocket", "WebSocket"))
}


def lower_name(name: object) -> str:
    """The name as it is looked for."""
    if type(name) is str:
        return _LOWER.get(name) or name.lower()
    # A request from another framework may hold anything; what is not str is nobody's name.
    return name.lower() if isinstance(name, str) else ""


@attrs.frozen(repr=False)
class Headers(Mapping[str, str]):
    """The header fields of a request or response, in their order; names compare without case.

    As a mapping it joins repeated fields with ``", "``, which is what RFC 9110 §5.3 says they mean;
    :meth:`get_all` keeps them apart. Characters above 0x7F are the bytes of the wire read as ISO 8859-1.

    Args:
        fields: A mapping, or pairs of name and value.
    """

    fields: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_header_pairs)
    #: Their names in lower case. A tuple is searched much faster than in a loop over the fields.
    _names: tuple[str, ...] = attrs.field(init=False, eq=False)

    @_names.default
    def _lower_names(self) -> tuple[str, ...]:
        return tuple([lower_name(name) for name, _ in self.fields])

    def get_all(self, name: str) -> tuple[str, ...]:
        """The values of every field called ``name``, in their order."""
        name = name.lower()
        times = self._names.count(name)
        if times == 0:
            return ()
        if times == 1:
            return (self.fields[self._names.index(name)][1],)
        return tuple(value for lower, (_, value) in zip(self._names, self.fields, strict=True) if lower == name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._names

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._names))

    def __len__(self) -> int:
        return len(set(self._names))

    def __repr__(self) -> str:
        return f"Headers({list(self.fields)!r})"


def known_headers(fields: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> Headers:
    """What ``Headers(fields)`` is, for who knows the names in lower case already, and may share them."""
    headers = object.__new__(Headers)
    object.__setattr__(headers, "fields", fields)
    object.__setattr__(headers, "_names", names)
    return headers


def unrepeated(headers: Headers) -> dict[str, str] | None:
    """The values by their names in lower case, for who looks for many; None if one stands there twice or is no str."""
    values = dict(zip(headers._names, [value for _, value in headers.fields], strict=True))
    alone = len(values) == len(headers.fields) and "" not in values  # which is what no str has for a name
    return values if alone and set(map(type, values.values())) == {str} else None


def _headers(headers: HeadersLike) -> Headers:
    return headers if isinstance(headers, Headers) else Headers(headers)


@attrs.frozen
class Request:
    """An HTTP request without its body."""

    #: ``"GET"`` and the like, as the client sent it.
    method: str
    #: As the client sent it, path and query: ``"/chat?room=1"``. Never a full URL: an absolute target
    #: arrives here without its scheme and authority.
    target: str
    headers: Headers = attrs.field(default=Headers(), converter=_headers)
    #: ``"1.1"`` or ``"1.0"``.
    http_version: str = "1.1"

    @property
    def path(self) -> str:
        """The target up to the question mark, percent-encoding left in place."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target behind the question mark, or an empty string."""
        return self.target.partition("?")[2]


@overload
def _body(body: str) -> bytes: ...
@overload
def _body(body: bytes) -> bytes: ...
def _body(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


@attrs.frozen
class Response:
    """An HTTP response: what a hook answers, and what a client gets to see.

    ``Response(200, "fine")`` is enough: Content-Length, Date and Connection are added when it is sent,
    and ``Content-Type: text/plain; charset=utf-8`` if there is a body and no other Content-Type.
    """

    #: The status code, such as 200.
    status: int
    #: ``str`` is encoded as UTF-8.
    body: bytes = attrs.field(default=b"", converter=_body)
    headers: Headers = attrs.field(default=Headers(), converter=_headers)

    @property
    def phrase(self) -> str:
        """The standard reason phrase of the status, or an empty string."""
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    def describe(self) -> str:
        """The status and the beginning of a textual body, in one line fit for a log."""
        line = f"{self.status} {self.phrase}".rstrip()
        if self.body and self.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            line += f": {quote(self.body[:400].decode('utf-8', 'replace').strip())}"
        return line
