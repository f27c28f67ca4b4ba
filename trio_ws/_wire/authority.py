"""Host and port as they stand in ``Host``, in ``Origin`` and in a request target."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

#: RFC 3986 §3.2.2 reg-name, but for the comma, with which programs join two hosts into one header. Nothing
#: beyond ASCII, so no codec is needed; the possessive `++` never backtracks.
_REG_NAME = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})++")

#: No name in the DNS is longer (RFC 1035 §2.3.4).
_MAX_NAME = 255


@lru_cache(maxsize=128)  # a server's clients all talk to the same few hosts; a line of a head bounds how long they are
def split_authority(text: str) -> tuple[str, int | None]:
    """Split ``host[:port]`` into a host in lower case and the port, None where there is none.

    An IPv6 address keeps its brackets and takes its canonical form, so that equal hosts are equal strings.

    Raises:
        ValueError: This is not a host, or the port is not a number up to 65535.
    """
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("the brackets do not match")
        return _check_ipv6(address), _parse_port(port.removeprefix(":"))
    host, _, port = text.partition(":")
    if len(host) > _MAX_NAME:
        raise ValueError(f"the host is longer than {_MAX_NAME} characters")
    if not _REG_NAME.fullmatch(host):
        raise ValueError("the host is not valid")
    return host.lower(), _parse_port(port)


def _check_ipv6(address: str) -> str:
    if "%" in address:
        # RFC 6874 §4: a zone means nothing outside the machine that wrote it.
        raise ValueError("the address has a zone")
    return f"[{ipaddress.IPv6Address(address).compressed}]"


def _parse_port(port: str) -> int | None:
    # RFC 3986 §3.2.3: the port may be empty. `int` alone would take signs, underscores and other scripts' digits.
    if not port:
        return None
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 0xFFFF:
        raise ValueError("the port is not a number from 0 to 65535")
    return int(port)
