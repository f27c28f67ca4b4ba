"""Limits, timeouts, compression, handshake: an entry point's arguments are gathered here, and validated once."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from ._values import Headers, Request, Response, _headers

__all__ = [
    "Compression",
    "ConnectionOptions",
    "Deflate",
    "HandshakeOptions",
    "Origins",
    "ProcessRequest",
    "ProcessResponse",
    "SelectSubprotocol",
]

#: A plain or async function that may answer a request.
ProcessRequest: TypeAlias = Callable[[Request], Awaitable[Response | None] | Response | None]
#: A plain or async function that may replace the answer to a request.
ProcessResponse: TypeAlias = Callable[[Request, Response], Awaitable[Response | None] | Response | None]
#: A function that chooses one of the subprotocols that a client offers.
SelectSubprotocol: TypeAlias = Callable[[Request, Sequence[str]], str | None]
#: Which web pages may connect.
Origins: TypeAlias = Sequence[str | re.Pattern[str] | None] | Literal["same-host", "any"]


def seconds(value: float | None, name: str) -> float | None:
    """Validate a duration: None switches it off, else a positive number that is not NaN."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds or None, not {value!r}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{name} must be more than 0 seconds (None switches it off), not {value!r}")
    return float(value)


def count(value: int | None, name: str, *, least: int, optional: bool) -> int | None:
    """Validate a size or a number of things: a whole number from ``least`` up, or None where that means no limit."""
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number{' or None' if optional else ''}, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")
    return value


def names(value: Sequence[str]) -> tuple[str, ...]:
    """A sequence of names, which a lone string is not, although Python takes it for one."""
    if isinstance(value, str):
        raise TypeError(f"subprotocols is a sequence of names, not the string {value!r}")
    return tuple(value)


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    seconds(value, attribute.name)


def _number(
    least: int, most: int, *, optional: bool = False
) -> Callable[[object, attrs.Attribute[Any], int | None], None]:
    def validate(instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
        checked = count(value, attribute.name, least=least, optional=optional)
        if checked is not None and checked > most:
            raise ValueError(f"{attribute.name} must be at most {most}, not {value!r}")

    return validate


def _count(*, least: int, optional: bool) -> Callable[[object, attrs.Attribute[Any], int | None], None]:
    def validate(instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
        count(value, attribute.name, least=least, optional=optional)

    return validate


def _flag(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} is True or False, not {value!r}")


@attrs.frozen(kw_only=True)
class Deflate:
    """How messages are compressed: the parameters of permessage-deflate (RFC 7692 §7.1) and of zlib.

    ``compression="deflate"`` means ``Deflate()``, whose window of 12 bits and memory level of 5 suit servers: 38 KiB
    for sending, 11 for receiving, and neither before the first compressed message. zlib's own defaults take 262 and 39.
    """

    #: The window in which the server looks for repetitions, as a power of 2 bytes: 9 to 15. None: a server uses 12, a
    #: client leaves it to the server.
    server_max_window_bits: int | None = attrs.field(default=None, validator=_number(9, 15, optional=True))
    #: The same for what the client sends. None: 12, also on a server if the client lets it choose.
    client_max_window_bits: int | None = attrs.field(default=None, validator=_number(9, 15, optional=True))
    #: Whether each message of the server is compressed by itself: nothing is kept between messages, and small ones
    #: hardly shrink.
    server_no_context_takeover: bool = attrs.field(default=False, validator=_flag)
    #: The same for what the client sends.
    client_no_context_takeover: bool = attrs.field(default=False, validator=_flag)
    #: How much memory our compressor takes for its tables, 1 to 9: 2 ** (mem_level + 9) bytes.
    mem_level: int = attrs.field(default=5, validator=_number(1, 9))
    #: How hard our compressor tries, 0 to 9; 6 is zlib's own default.
    level: int = attrs.field(default=6, validator=_number(0, 9))
    #: Messages of fewer bytes are sent as they are: whatever one saves of them, they take one packet. A message
    #: in fragments is compressed whatever its size.
    min_size: int = attrs.field(default=64, validator=_count(least=0, optional=False))


#: ``"deflate"`` is ``Deflate()``; None is no compression.
Compression: TypeAlias = Literal["deflate"] | Deflate | None


def _compression(value: object) -> Deflate | None:
    if value is None or isinstance(value, Deflate):
        return value
    if value != "deflate":
        error = ValueError if isinstance(value, str) else TypeError
        raise error(f"compression is 'deflate', a Deflate or None, not {value!r}")
    return Deflate()


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """What holds for one open connection; what each option means stands at :func:`trio_ws.serve_websocket`."""

    compression: Deflate | None = attrs.field(default=Deflate(), converter=_compression)

    max_size: int | None = attrs.field(default=2**20, validator=_count(least=1, optional=True))
    max_queue: int = attrs.field(default=16, validator=_count(least=1, optional=False))
    max_fragments: int | None = attrs.field(default=None, validator=_count(least=1, optional=True))
    read_limit: int = attrs.field(default=2**16, validator=_count(least=1, optional=False))
    write_limit: int = attrs.field(default=2**16, validator=_count(least=1, optional=False))
    ping_interval: float | None = attrs.field(default=20, validator=_seconds)
    ping_timeout: float | None = attrs.field(default=20, validator=_seconds)
    close_timeout: float | None = attrs.field(default=10, validator=_seconds)

    @property
    def fragments(self) -> float:
        """How many frames one message may have.

        The default follows from ``max_size``: an honest peer may send fragments of 64 bytes, so a limit
        for work has to leave room for that many of them, and for an empty one that ends the message.
        """
        if self.max_fragments is not None:
            return self.max_fragments
        return math.inf if self.max_size is None else max(1024, self.max_size // 64 + 1)


@attrs.frozen(kw_only=True)
class HandshakeOptions:
    """How a server answers the opening handshake; what each means stands at :func:`trio_ws.serve_websocket`."""

    process_request: ProcessRequest | None = None
    process_response: ProcessResponse | None = None
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=names)
    select_subprotocol: SelectSubprotocol | None = None
    origins: Origins = "same-host"
    extra_headers: Headers = attrs.field(default=Headers(), converter=_headers)
    server_header: str | None = None
