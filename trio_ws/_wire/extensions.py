"""Which extension both sides agree on: the header of RFC 6455 §9.1, and permessage-deflate's parameters (RFC 7692 §7).

A server answers an offer in :func:`answer_offers`. A client makes one in :func:`make_offer` and holds the answer
against it in :func:`check_answer`. What was agreed then stands in the 101, where :func:`parse_answer` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

import attrs

from .._options import Deflate
from .._values import quote
from .head import TOKEN

__all__ = [
    "EXTENSIONS",
    "OUR_WINDOW",
    "SMALLEST_WINDOW",
    "DeflateParameters",
    "answer_offers",
    "check_answer",
    "make_offer",
    "parse_answer",
]

EXTENSIONS = "Sec-WebSocket-Extensions"

_NAME = "permessage-deflate"
#: RFC 7692 §7.1.2: a decimal integer without leading zeros, from 8 to 15.
_WINDOW_BITS = re.compile("[89]|1[0-5]")
#: The window that holds unless another is agreed on (RFC 7692 §7.1.2), and the one that we choose where we may.
_LARGEST_WINDOW, OUR_WINDOW = 15, 12
#: zlib cannot compress with a smaller one.
SMALLEST_WINDOW = 9

#: One extension of the header: its name, and its parameters with their values, of which there may be none.
_Extension: TypeAlias = "tuple[str, list[tuple[str, str | None]]]"
#: The parameters of permessage-deflate, by name: a number of bits, or None for those without a value.
_Parameters: TypeAlias = "dict[str, int | None]"

#: Characters of offers whose answer is remembered. Browsers send 45, and what peers can make us keep is bounded.
_USUAL_LENGTH = 200

#: Each character can be matched in one way only, so that no header takes more than linear time.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SPACE = re.compile(r"[ \t]*")


@attrs.frozen(kw_only=True)
class DeflateParameters:
    """What both sides have agreed on (RFC 7692 §7.1)."""

    server_max_window_bits: int = _LARGEST_WINDOW
    client_max_window_bits: int = _LARGEST_WINDOW
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False


# The header, RFC 6455 §9.1:
#     extension-list  = 1#extension
#     extension       = extension-token *( ";" extension-param )
#     extension-param = token [ "=" (token | quoted-string) ]


class _Scanner:
    """Reads one header from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._take(_SPACE)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._position)
        if found:
            self._position = found.end()
        return found

    def at_end(self) -> bool:
        return self._position == len(self._text)

    def sign(self, char: str) -> bool:
        """Take this character, if it is next, and the space behind it."""
        if not self._text.startswith(char, self._position):
            return False
        self._position += 1
        self._take(_SPACE)
        return True

    def token(self) -> str:
        found = self._take(TOKEN)
        if not found:
            raise ValueError(f"a name or value is missing before {quote(self._text[self._position :], 40)}")
        self._take(_SPACE)
        return found[0]

    def value(self) -> str:
        """A token, or a quoted string that holds one (RFC 6455 §9.1)."""
        quoted = self._take(_QUOTED)
        if not quoted:
            return self.token()
        self._take(_SPACE)
        text = re.sub(r"\\(.)", r"\1", quoted[1])
        if not TOKEN.fullmatch(text):
            raise ValueError(f"{quote(text, 40)} is not a token")
        return text


def _parse(values: Iterable[str]) -> list[_Extension]:
    """The extensions that a header lists.

    Args:
        values: The values of every field of that name.

    Raises:
        ValueError: They break the grammar.
    """
    values = tuple(values)
    if not values:
        return []
    scanner = _Scanner(", ".join(values))
    extensions: list[_Extension] = []
    while not scanner.at_end():
        if scanner.sign(","):  # RFC 9110 §5.6.1.2: a recipient ignores empty items
            continue
        extension: _Extension = (scanner.token(), [])
        while scanner.sign(";"):
            name = scanner.token()
            extension[1].append((name, scanner.value() if scanner.sign("=") else None))
        extensions.append(extension)
        if not (scanner.at_end() or scanner.sign(",")):
            raise ValueError(f"there is no comma behind {quote(extension[0], 40)}")
    if not extensions:
        raise ValueError("the list is empty")
    return extensions


# The parameters


def _parameters(pairs: list[tuple[str, str | None]], *, in_answer: bool) -> _Parameters:
    """The parameters of permessage-deflate in an offer or an answer.

    Raises:
        ValueError: One is unknown, stands there twice, or has a value that it may not have.
    """
    parameters: _Parameters = {}
    for name, value in pairs:
        if name in parameters:
            raise ValueError(f"{name} stands there twice")
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                raise ValueError(f"{name} has no value")
            parameters[name] = None
        elif name in ("server_max_window_bits", "client_max_window_bits"):
            # Only a client's offer of client_max_window_bits may leave the value open (RFC 7692 §7.1.2.2).
            open_value = value is None and name == "client_max_window_bits" and not in_answer
            if not open_value and not (value is not None and _WINDOW_BITS.fullmatch(value)):
                raise ValueError(f"the value of {name} is a number from 8 to 15, not {quote(value, 40)}")
            parameters[name] = None if value is None else int(value)
        else:
            raise ValueError(f"{quote(name, 40)} is not one of its parameters")
    return parameters


def _write(parameters: _Parameters) -> str:
    return "; ".join([_NAME, *(name if bits is None else f"{name}={bits}" for name, bits in parameters.items())])


def answer_offers(values: Iterable[str], deflate: Deflate | None) -> str | None:
    """The server's answer to what a client offers, or None for no extension.

    The first offer that is acceptable wins; those with an unknown, repeated or ill-valued parameter are not
    (RFC 7692 §7).

    Args:
        values: The values of every ``Sec-WebSocket-Extensions`` field in the request.
        deflate: What this server wants, or None if it does not compress.

    Raises:
        ValueError: The header breaks the grammar, which fails the handshake (RFC 6455 §9.1).
    """
    values = tuple(values)
    if sum(map(len, values)) <= _USUAL_LENGTH:
        return _answer_usual_offers(values, deflate)
    return _answer_offers(values, deflate)


def _answer_offers(values: tuple[str, ...], deflate: Deflate | None) -> str | None:
    for name, pairs in _parse(values):
        if name != _NAME or deflate is None:
            continue
        try:
            offer = _parameters(pairs, in_answer=False)
        except ValueError:
            continue
        answer = _answer(offer, deflate)
        if answer is not None:
            return _write(answer)
    return None


#: All clients of one kind offer the same, and to read that takes 20 microseconds.
_answer_usual_offers = lru_cache(maxsize=64)(_answer_offers)


def _answer(offer: _Parameters, deflate: Deflate) -> _Parameters | None:
    answer: _Parameters = {}
    for side, wanted in (
        ("server", deflate.server_no_context_takeover),
        ("client", deflate.client_no_context_takeover),
    ):
        # §7.1.1: what the server wants may stand in its answer whether offered or not. The client's offer binds the
        # server for its own side; for the client's own it is a hint, which lets us drop a window.
        if wanted or f"{side}_no_context_takeover" in offer:
            answer[f"{side}_no_context_takeover"] = None
    # §7.1.2.1: the answer's value is the offer's or a smaller one.
    bits = min(offer.get("server_max_window_bits") or _LARGEST_WINDOW, deflate.server_max_window_bits or OUR_WINDOW)
    if bits < SMALLEST_WINDOW:
        return None
    if bits != _LARGEST_WINDOW or "server_max_window_bits" in offer:
        answer["server_max_window_bits"] = bits
    # §7.1.2.2: a client that does not offer it cannot be told.
    if "client_max_window_bits" in offer:
        offered = offer["client_max_window_bits"] or _LARGEST_WINDOW
        answer["client_max_window_bits"] = min(offered, deflate.client_max_window_bits or OUR_WINDOW)
    return answer


def make_offer(deflate: Deflate | None) -> str | None:
    """What a client offers, or None for nothing.

    It says that it can obey a window that the server chooses, and asks for one only where it was told to: servers
    that cannot choose their own window decline an offer that asks for one.
    """
    if deflate is None:
        return None
    offer: _Parameters = {}
    if deflate.server_no_context_takeover:
        offer["server_no_context_takeover"] = None
    if deflate.client_no_context_takeover:
        offer["client_no_context_takeover"] = None
    if deflate.server_max_window_bits not in (None, _LARGEST_WINDOW):
        offer["server_max_window_bits"] = deflate.server_max_window_bits
    offer["client_max_window_bits"] = deflate.client_max_window_bits
    return _write(offer)


def _answered(values: Iterable[str]) -> _Parameters | None:
    extensions = _parse(values)
    if not extensions:
        return None
    (name, pairs), *others = extensions
    if name != _NAME or others:
        raise ValueError(f"we offer {_NAME} at most, and that once")
    return _parameters(pairs, in_answer=True)


def parse_answer(values: Iterable[str]) -> DeflateParameters | None:
    """What a server's answer says that is agreed on, or None if no extension is.

    Raises:
        ValueError: It is no answer to any offer of ours.
    """
    answer = _answered(values)
    if answer is None:
        return None
    return DeflateParameters(
        server_max_window_bits=answer.get("server_max_window_bits") or _LARGEST_WINDOW,
        client_max_window_bits=answer.get("client_max_window_bits") or _LARGEST_WINDOW,
        server_no_context_takeover="server_no_context_takeover" in answer,
        client_no_context_takeover="client_no_context_takeover" in answer,
    )


def check_answer(values: Iterable[str], deflate: Deflate | None) -> None:
    """See to it that a server's answer keeps within what :func:`make_offer` offered (RFC 6455 §4.1, RFC 7692 §7).

    Args:
        values: The values of every ``Sec-WebSocket-Extensions`` field in the response.

    Raises:
        ValueError: It does not, which fails the handshake.
    """
    answer = _answered(values)
    if answer is None:
        return
    if deflate is None:
        raise ValueError("we offered none")
    if deflate.server_no_context_takeover and "server_no_context_takeover" not in answer:
        raise ValueError("it lacks server_no_context_takeover, which we asked for")
    # §7.1.2.1: without the parameter the server would use the largest window.
    most = deflate.server_max_window_bits or _LARGEST_WINDOW
    if (answer.get("server_max_window_bits") or _LARGEST_WINDOW) > most:
        raise ValueError(f"we asked for a server_max_window_bits of at most {most}")
    # §7.1.2.2: without the parameter it is we who choose.
    most = deflate.client_max_window_bits or _LARGEST_WINDOW
    if (answer.get("client_max_window_bits") or 0) > most:
        raise ValueError(f"we offered a client_max_window_bits of at most {most}")
