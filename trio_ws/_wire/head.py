"""The head of an HTTP message, as both roles of the opening handshake read and write it.

:class:`HeadBuffer` collects a head from a peer and refuses what h11 would tolerate; :func:`encode_head` is
the one gate through which every head of ours goes. Both are strict where leniency lets two programs on
one path understand one message in two ways, which is how requests get smuggled (RFC 9112 §11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._errors import LocalHandshakeError
from .._values import quote

#: Bytes of one line, line end included.
MAX_LINE = 8192
#: Bytes of a whole head, blank line included.
MAX_HEAD = 16384
MAX_FIELDS = 100

#: RFC 9110 §5.6.2
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
#: RFC 9110 §5.5: NUL, CR and LF are dangerous in a field value, all other controls but HTAB invalid.
CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
_CONTROL_CHARACTERS = frozenset(CONTROLS.decode("ascii"))
#: What nearly every value is: words of ASCII with single spaces between them. One match instead of four searches.
_USUAL_VALUE = re.compile(r"[!-~]++(?: [!-~]++)*+")


class HeadError(Exception):
    """What a peer sent is not a head that we read; each role says in its own way what follows from that."""


class LineTooLong(HeadError):
    """One line is longer than :data:`MAX_LINE`.

    Attributes:
        first_line: Whether it is the request or status line.
    """

    def __init__(self, first_line: bool) -> None:
        what = "the first line" if first_line else "a header line"
        super().__init__(f"{what} is longer than {MAX_LINE} bytes")
        self.first_line = first_line


class HeadTooLong(HeadError):
    """The head is longer than :data:`MAX_HEAD`."""

    def __init__(self) -> None:
        super().__init__(f"the header is longer than {MAX_HEAD} bytes")


class TooManyFields(HeadError):
    """The head has more than :data:`MAX_FIELDS` fields."""

    def __init__(self) -> None:
        super().__init__(f"there are more than {MAX_FIELDS} header fields")


class MalformedHead(HeadError):
    """The head breaks the syntax of RFC 9112; the text says where."""


class HeadBuffer:
    """Collects bytes until the head of an HTTP message is complete.

    It is finished once :meth:`feed` returned a head or raised: make another one for another head. Whether
    and why a head is refused does not depend on how its bytes were split.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: How many lines are complete, and where the one being collected begins.
        self._lines = 0
        self._line_start = 0
        #: There is no line end before this place, so that no byte is searched twice when a peer drips them.
        self._searched = 0
        self._skipped_blank_line = False
        #: Whether no byte has come yet.
        self.empty = True
        #: What came behind the head.
        self.rest = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take in bytes; return the whole head, blank line included, once it is complete.

        Raises:
            LineTooLong: :data:`MAX_LINE` was exceeded, with or without a line end.
            HeadTooLong: :data:`MAX_HEAD` was exceeded.
            TooManyFields: :data:`MAX_FIELDS` was exceeded.
            MalformedHead: A bare CR or LF, a folded line, a control character, or no first line.
        """
        self.empty = self.empty and not data
        self._buffer += data
        self._check_first_byte()
        while end := self._buffer.find(b"\n", self._searched) + 1:
            if self._take_line(end):
                self.rest = bytes(self._buffer[end:])
                return bytes(self._buffer[:end])
            self._check_first_byte()
        self._check_length(len(self._buffer))
        self._searched = len(self._buffer)
        return None

    def _check_first_byte(self) -> None:
        """Refuse at once what cannot become HTTP, for example TLS on a port without TLS."""
        first = self._buffer[:1]
        if self._lines == 0 and first and not (0x21 <= first[0] <= 0x7E or first == b"\r"):
            raise MalformedHead(f"the first byte is 0x{first[0]:02x}")

    def _take_line(self, end: int) -> bool:
        """Check the line that ends at ``end``; return whether it is the blank line that ends the head."""
        self._check_length(end)
        line = bytes(self._buffer[self._line_start : end])
        if line == b"\r\n" and self._lines == 0:
            self._skip_blank_line()
            return False
        _check_line(line)
        if self._lines and line.startswith((b" ", b"\t")):
            # RFC 9112 §5.2: a server must refuse or rewrite it; it is obsolete since 2014.
            raise MalformedHead("a header line begins with whitespace (obsolete line folding)")
        if line == b"\r\n":
            return True
        self._lines += 1
        if self._lines > MAX_FIELDS + 1:  # and one for the first line
            raise TooManyFields
        self._line_start = self._searched = end
        return False

    def _skip_blank_line(self) -> None:
        # RFC 9112 §2.2: a server should ignore at least one empty line before the request line.
        if self._skipped_blank_line:
            raise MalformedHead("there is no first line")
        self._skipped_blank_line = True
        del self._buffer[:2]

    def _check_length(self, end: int) -> None:
        line_limit = self._line_start + MAX_LINE
        if end > min(line_limit, MAX_HEAD):
            # The limit that comes first in the stream counts, however many bytes came in one piece.
            raise LineTooLong(self._lines == 0) if line_limit <= MAX_HEAD else HeadTooLong


def _check_line(line: bytes) -> None:
    content = line.removesuffix(b"\r\n")
    if len(content) == len(line):
        # RFC 9112 §2.2 lets a recipient take a bare LF for a line end; others on the path may not.
        raise MalformedHead("a line ends in a bare LF")
    if b"\r" in content:
        raise MalformedHead("there is a bare CR")
    if len(content.translate(None, CONTROLS)) != len(content):
        raise MalformedHead("there is a control character")


def encode_head(start_line: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of a head that we send.

    Args:
        start_line: The request or status line, without a line end.
        fields: Names and values. Characters from 0x80 to 0xFF become single bytes (ISO 8859-1).

    Raises:
        LocalHandshakeError: Something in it may not be sent. The text names the field and keeps the
            value to itself, for that may be a password.
    """
    if not (start_line.isascii() and start_line.isprintable()) or start_line[:1] in ("", " ") or "  " in start_line:
        raise LocalHandshakeError(f"this first line may not be sent: {quote(start_line)}")
    lines = [f"{name}: {value}" for name, value in check_fields(fields)]
    return "\r\n".join([start_line, *lines, "", ""]).encode("latin-1")


def check_fields(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return these names and values if every one may be sent, as ``str`` itself.

    (What is a subclass of it, such as an enumeration, may look different when it is formatted.)

    Raises:
        LocalHandshakeError: One may not; the text names it.
    """
    checked: list[tuple[str, str]] = []
    for name, value in fields:
        if not is_token(name):
            raise LocalHandshakeError(f"{quote(name)} is not the name of a header field (RFC 9110 §5.1)")
        if why := _why_not_sent(value):
            raise LocalHandshakeError(f"the value of the header field {quote(name)} {why}")
        checked.append((str.__str__(name), str.__str__(value)))
    return checked


def _why_not_sent(value: object) -> str | None:
    """Why a field may not have this value, or None (RFC 9110 §5.5)."""
    if not isinstance(value, str):
        return f"is not a str but {type(value).__name__}"
    if _USUAL_VALUE.fullmatch(value):
        return None
    if not _CONTROL_CHARACTERS.isdisjoint(value):
        return "holds a control character"
    if value != value.strip(" \t"):
        return "begins or ends with whitespace"
    if value and max(value) > "\xff":
        return "holds a character beyond ISO 8859-1"
    return None


def is_token(text: object) -> bool:
    """Whether ``text`` is a str and a token (RFC 9110 §5.6.2)."""
    return isinstance(text, str) and TOKEN.fullmatch(text) is not None


def _list_items(values: Iterable[str]) -> list[str]:
    """The items of a comma-separated list that may span several fields.

    RFC 9110 §5.6.1.2: a recipient ignores empty items.
    """
    items = [item.strip(" \t") for value in values for item in value.split(",")]
    return [item for item in items if item]


def parse_tokens(values: Iterable[str]) -> list[str]:
    """Parse a list of tokens, for example ``Connection``.

    Args:
        values: The values of every field of that name.

    Raises:
        ValueError: An item is not a token.
    """
    items = _list_items(values)
    for item in items:
        if not is_token(item):
            raise ValueError(f"{quote(item)} is not a token")
    return items


def parse_protocols(values: Iterable[str]) -> list[str]:
    """Parse the list of protocols in ``Upgrade``, each a token that may have ``/version`` behind it (RFC 9110 §7.8).

    Args:
        values: The values of every field of that name.

    Raises:
        ValueError: An item is not a protocol.
    """
    items = _list_items(values)
    for item in items:
        name, slash, version = item.partition("/")
        if not is_token(name) or (slash and not is_token(version)):
            raise ValueError(f"{quote(item)} is not a protocol")
    return items
