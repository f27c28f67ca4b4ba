"""Which pages may open a WebSocket here: a browser sends its user's cookies from any page (RFC 6455 §10.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._errors import ConnectionRejected
from .._options import Origins
from .._values import Request, quote
from .authority import split_authority
from .upgrade import field_values, rejection

__all__ = ["check_origin", "validate_origins"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: RFC 6454 §6.2: scheme, host and port; apps and browser extensions have schemes of their own.
_SERIALISED_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([!-~]*)")


def check_origin(request: Request, origins: Origins) -> None:
    """Check that the page that sent this request may do so.

    Args:
        request: The opening handshake.
        origins: What :func:`validate_origins` returned.

    Raises:
        ConnectionRejected: 403, it may not.
    """
    if origins == "any":
        return
    sent = field_values(request, "Origin")
    if len(sent) > 1:
        raise rejection(403, "The request has several Origin headers.")
    origin = sent[0] if sent else None
    allowed = _is_same_host(request, origin) if origins == "same-host" else _is_listed(origin, origins)
    if not allowed:
        raise _forbidden(origin)


def _forbidden(origin: str | None) -> ConnectionRejected:
    if origin is None:
        return rejection(403, "Requests without an Origin header are not allowed here.")
    return rejection(403, f"The Origin {quote(origin)} is not allowed here.")


def _is_same_host(request: Request, origin: str | None) -> bool:
    """Whether the page comes from the host that it talks to. No browser leaves Origin out (RFC 6455 §4.1)."""
    if origin is None:
        return True
    scheme, _, authority = origin.partition("://")
    default = _DEFAULT_PORTS.get(scheme.lower())
    hosts = field_values(request, "Host")
    if default is None or len(hosts) != 1:
        return False
    try:
        (host, port), (own_host, own_port) = split_authority(authority), split_authority(hosts[0])
    except ValueError:  # also for `null`, userinfo, a path
        return False
    # An absent port is not 0, which no default may replace.
    ports = [default if number is None else number for number in (port, own_port)]
    return host == own_host and ports[0] == ports[1]


def _is_listed(origin: str | None, origins: Sequence[str | re.Pattern[str] | None]) -> bool:
    return any(_matches(origin, entry) for entry in origins)


def _matches(origin: str | None, entry: str | re.Pattern[str] | None) -> bool:
    if origin is None or entry is None:
        return origin is entry
    if isinstance(entry, str):
        return origin.isascii() and origin.lower() == entry.lower()
    return entry.fullmatch(origin) is not None


def validate_origins(origins: Origins) -> Origins:
    """Return the setting ``origins`` if it can mean something, a sequence as a tuple.

    Raises:
        TypeError: It is neither a name nor a sequence of str, compiled regex and None.
        ValueError: It is some other string, or holds one that no browser sends as an Origin.
    """
    if isinstance(origins, str):
        if origins not in ("same-host", "any"):
            raise ValueError(f"origins is 'same-host', 'any' or a list such as [{origins!r}], not {origins!r} itself")
        return origins
    if not isinstance(origins, Sequence):
        raise TypeError(f"origins is 'same-host', 'any' or a list, not {origins!r}")
    for entry in origins:  # those of bytes are int, which is refused too
        _validate_entry(entry)
    return tuple(origins)


def _validate_entry(entry: object) -> None:
    if isinstance(entry, str):
        _validate_string(entry)
    elif entry is not None and not (isinstance(entry, re.Pattern) and isinstance(entry.pattern, str)):
        raise TypeError(f"an entry of origins is a str, a compiled regex for str, or None, not {entry!r}")


def _validate_string(entry: str) -> None:
    match = _SERIALISED_ORIGIN.fullmatch(entry)
    if match is None or not set("/?#@\\*").isdisjoint(match[2]):
        raise ValueError(f"an Origin is scheme://host[:port] (a pattern is a compiled regex), not {entry!r}")
    scheme = match[1].lower()
    if scheme in _DEFAULT_PORTS:
        _validate_port(entry, match[2], _DEFAULT_PORTS[scheme])


def _validate_port(entry: str, authority: str, default: int) -> None:
    try:
        _, port = split_authority(authority)
    except ValueError as error:
        raise ValueError(f"the Origin {entry!r} has no valid host and port: {error}") from None
    if port == default or authority.endswith(":"):
        raise ValueError(f"browsers leave out the default port, so the Origin {entry!r} would never come")
