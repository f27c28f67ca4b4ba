"""The fast lane for a request as clients send it that open a WebSocket.

Nearly every request here is a ``GET``, arrives in one piece, and breaks no rule. :func:`read_usual` reads such a one
with a few calls that each look at all of it, instead of some for each line. It accepts nothing by itself: whatever is
unusual it leaves to ``head.py`` and h11, which stay the judges, and what it reads it reads as they do.

:func:`usual_key` does the same for what such a request has to say to open a WebSocket, beside ``check_upgrade``.
"""

from __future__ import annotations

import re

from .._values import Request, known_headers, lower_name, unrepeated
from .authority import split_authority
from .head import CONTROLS, MAX_FIELDS, MAX_LINE
from .upgrade import VERSION, is_key

__all__ = ["read_usual", "usual_key"]

#: With a target without a fragment.
_REQUEST_LINE = re.compile(rb"GET (/[!\"$-~]*) HTTP/1\.1")
#: RFC 9110 §5.6.2: a token, and the colon that stands right behind it (RFC 9112 §5.1).
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++(?=:)")

#: A field, and its name in lower case.
_Field = tuple[tuple[str, str], str]

#: Where bodies begin and end is a matter for the judges.
_ABOUT_BODIES = frozenset({"content-length", "transfer-encoding"})

#: What browsers and most libraries send.
_USUAL_CONNECTIONS = ("Upgrade", "keep-alive, Upgrade")

#: Fields that many requests share: those of one site's clients differ in little but their key. None that holds a secret
#: or may be another one in each request.
_SHARED = frozenset(
    {
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "host",
        "origin",
        "pragma",
        "sec-websocket-extensions",
        "sec-websocket-version",
        "upgrade",
        "user-agent",
    }
)
#: Lines of such fields that have been read already. It saves reading them, but above all they are there once, and not
#: once for each connection: 2.5 KiB of a browser's request.
_known: dict[bytes, _Field] = {}
#: How many, and how long they may be: what peers can make us keep is 64 KiB of text.
_MOST_KNOWN, _LONGEST_KNOWN = 256, 256


def read_usual(data: bytes) -> tuple[Request, bytes] | None:
    """Return the request at the beginning of these bytes, and what stands behind it; None if that is not usual."""
    end = data.find(b"\r\n\r\n", 0, MAX_LINE)  # so no line is too long, nor the head
    if end < 0:
        return None
    head = data[:end]
    first, *lines = head.split(b"\r\n")
    start = _REQUEST_LINE.fullmatch(first)
    if start is None or not 0 < len(lines) <= MAX_FIELDS:
        return None
    if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(lines):
        return None  # there are more controls than those that end lines
    fields = [field for line in lines if (field := _known.get(line) or _read_field(line))]
    if len(fields) < len(lines):
        return None
    pairs, names = zip(*fields, strict=True)
    if names.count("host") != 1 or not _is_host(pairs[names.index("host")][1]):
        return None
    return Request("GET", start[1].decode("ascii"), known_headers(pairs, names)), data[end + 4 :]


def _read_field(line: bytes) -> _Field | None:
    found = _NAME.match(line)
    if found is None:
        return None
    name = found[0].decode("ascii")
    lower = lower_name(name)
    if lower in _ABOUT_BODIES:
        return None
    field = (name, line[found.end() + 1 :].strip(b" \t").decode("latin-1")), lower
    if lower in _SHARED and len(line) <= _LONGEST_KNOWN:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[line] = field
    return field


def _is_host(text: str) -> bool:
    try:
        split_authority(text)
    except ValueError:
        return False
    return True


def usual_key(request: Request) -> str | None:
    """Return the ``Sec-WebSocket-Key`` of a request that plainly opens a WebSocket (RFC 6455 §4.2.1), else None."""
    fields = unrepeated(request.headers)
    if fields is None or request.method != "GET" or request.http_version != "1.1":
        return None
    get = fields.get
    usual = (
        get("upgrade") == "websocket"
        and get("connection") in _USUAL_CONNECTIONS
        and get("sec-websocket-version") == VERSION
        and _ABOUT_BODIES.isdisjoint(fields)
        and is_key(key := get("sec-websocket-key", ""))
        and _is_host(get("host", ""))
    )
    return key if usual else None
