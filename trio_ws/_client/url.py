"""What a ws or wss URL says, checked to the last character before anything is sent (RFC 6455 §3)."""

from __future__ import annotations

import base64
import ipaddress
import re
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_to_bytes

import attrs
import idna

from .._errors import InvalidURL
from .._values import quote

__all__ = ["WebSocketURL", "parse_url"]

#: C0, space, DEL and C1. urllib would drop some of them without a word; a backslash is a slash to some parsers.
_REFUSED = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
#: RFC 3986 §3.3 and §3.4: what a path and a query may hold besides letters and digits.
_TARGET_CHARACTERS = "/?:@!$&'()*+,;=-._~%"
_LABEL = re.compile("[A-Za-z0-9_-]{1,63}")
_PORT = re.compile("[0-9]{1,5}")


@attrs.frozen
class WebSocketURL:
    """The parts of a ws or wss URL, each in the form in which it is used."""

    secure: bool
    #: ASCII in lower case, an IPv6 address without brackets: as resolvers and TLS want it.
    host: str
    port: int
    #: Path and query, percent-encoded.
    target: str
    #: The value of ``Host``.
    host_header: str
    #: The value of ``Authorization``, if the URL has a user name.
    authorization: str | None = attrs.field(repr=False)


def parse_url(url: str) -> WebSocketURL:
    """Parse a URL that a WebSocket can be opened on.

    Characters beyond ASCII are encoded: in the host as IDNA, in path and query as UTF-8 with percent signs.

    Raises:
        InvalidURL: It is not one. The text shows the URL without user name, password and query.
    """
    try:
        return _parse(url)
    except (_Flaw, idna.IDNAError, ipaddress.AddressValueError) as flaw:
        why = str(flaw) if isinstance(flaw, _Flaw) else "the host is not valid"
    # Raised out here, for the flaw's own traceback may hold the password.
    raise InvalidURL(f"{why}: {_redacted(url)}")


class _Flaw(Exception):
    """Why the URL is not valid; never any part of it, for that may be the password."""


def _redacted(url: object) -> str:
    _, at, behind = str(url).rpartition("@")
    shown = f"***@{behind}" if at else behind
    return quote(shown.partition("?")[0])


def _parse(url: str) -> WebSocketURL:
    _check_characters(url)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("ws", "wss"):
        raise _Flaw("the URL of a WebSocket begins with ws:// or wss://")
    if "#" in rest:
        raise _Flaw("the URL of a WebSocket has no fragment")
    secure = scheme.lower() == "wss"
    end = min(index for index in (rest.find("/"), rest.find("?"), len(rest)) if index >= 0)
    userinfo, _, authority = rest[:end].rpartition("@")
    host, port_text = _split_host(authority)
    default = 443 if secure else 80
    port = _parse_port(port_text, default)
    host_header = f"[{host}]" if ":" in host else host
    return WebSocketURL(
        secure=secure,
        host=host,
        port=port,
        target=_encode_target(rest[end:]),
        host_header=host_header if port == default else f"{host_header}:{port}",
        authorization=_basic_authorization(userinfo) if userinfo else None,
    )


def _check_characters(url: object) -> None:
    if not isinstance(url, str):
        raise _Flaw("a URL is a str")
    if _REFUSED.search(url):
        raise _Flaw("a URL has no spaces, control characters and backslashes")
    if any("\ud800" <= character <= "\udfff" for character in url):
        raise _Flaw("a URL has no lone surrogates")


def _split_host(authority: str) -> tuple[str, str]:
    """Return the host, as WebSocketURL has it, and the text of the port."""
    if authority.startswith("["):
        address, bracket, port = authority[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise _Flaw("the brackets of the host do not match")
        if "%" in address:
            raise _Flaw("the zone of an IPv6 address has no place in a URL")
        return ipaddress.IPv6Address(address).compressed, port.removeprefix(":")
    host, _, port = authority.partition(":")
    return _encode_host(host), port


def _encode_host(host: str) -> str:
    if not host.isascii():
        # The rules by which trio encodes the name that it resolves.
        host = idna.encode(host, uts46=True).decode("ascii")
    labels = host.removesuffix(".").split(".")
    # RFC 1035 §2.3.4. Resolving a longer one raises UnicodeError.
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _Flaw("the host is not valid" if host else "the URL has no host")
    return host.lower()


def _parse_port(text: str, default: int) -> int:
    if text == "":  # RFC 3986 §3.2.3
        return default
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 0xFFFF:
        raise _Flaw("the port is not a number from 1 to 65535")
    return int(text)


def _encode_target(text: str) -> str:
    target = text if text.startswith("/") else f"/{text}"
    return percent_encode(_STRAY_PERCENT.sub("%25", target), safe=_TARGET_CHARACTERS)


def _basic_authorization(userinfo: str) -> str:
    """RFC 7617 §2: user name and password in UTF-8, neither with a control character, the name without a colon."""
    if "@" in userinfo:
        raise _Flaw("an @ in a user name or password is written %40")
    user, _, password = (unquote_to_bytes(part) for part in userinfo.partition(":"))
    if b":" in user or any(byte < 0x20 or byte == 0x7F for byte in user + password):
        raise _Flaw("the user name or password holds a character that it may not")
    return f"Basic {base64.b64encode(user + b':' + password).decode('ascii')}"
