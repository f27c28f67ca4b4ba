"""Opening and closing raw connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from . import frames
from .conversation import WrongReply

#: Seconds without any reply after which a server counts as stuck.
STALLED = 30
#: Connections that are opened at the same time; fewer than any server's backlog.
OPENING = 50


def connect(port: int, count: int, *, deflate: bool = False, raw: bool = False) -> list[socket.socket]:
    """Open connections, some at a time; ``raw`` ones are TCP alone."""
    socks: list[socket.socket] = []
    request = frames.request(port, deflate=deflate)
    while len(socks) < count:
        opening = [dial(port) for _ in range(min(OPENING, count - len(socks)))]
        if not raw:
            for sock in opening:
                sock.sendall(request)
            for sock in opening:
                read_response(sock, deflate=deflate)
        socks += opening
    return socks


def dial(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=STALLED)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_response(sock: socket.socket, *, deflate: bool = False) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        if not data:
            raise WrongReply(f"no whole response: {head!r}")
        head += data
    if not head.startswith(b"HTTP/1.1 101 ") or frames.ACCEPT not in head:
        raise WrongReply(f"no upgrade: {head!r}")
    if (b"permessage-deflate" in head) != deflate:
        raise WrongReply(f"compression is not as it was asked for: {head!r}")


def hang_up(socks: Sequence[socket.socket], *, raw: bool = False) -> None:
    """Close without waiting, though not without a word, which some servers would log."""
    for sock in socks:
        if not raw:
            with suppress(OSError):
                sock.send(frames.GOODBYE)
        sock.close()


def open_and_close(port: int, seconds: float) -> list[int]:
    """Connections that come and go, one after the other, with both handshakes: how many nanoseconds each one took."""
    request = frames.request(port, deflate=False)
    deadline = time.perf_counter_ns() + int(seconds * 1e9)
    latencies = []
    while (start := time.perf_counter_ns()) < deadline:
        with dial(port) as sock:
            sock.sendall(request)
            read_response(sock)
            sock.sendall(frames.GOODBYE)
            while sock.recv(4096):
                pass
        latencies.append(time.perf_counter_ns() - start)
    return latencies
