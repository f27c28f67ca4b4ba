"""The load generator: raw sockets, one thread, prebuilt bytes.

Its own work for a message is one ``send``, one ``recv_into`` and a comparison of two lengths, so that a server is
never kept waiting for the library of its clients.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from . import frames

#: Seconds without any reply after which the server counts as stuck.
STALLED = 30
#: Connections that are opened at the same time; fewer than any server's backlog.
OPENING = 50


class WrongReply(Exception):
    """The server did not do what is to be measured."""


class Sample(NamedTuple):
    messages: int
    seconds: float
    #: Nanoseconds from sending a burst to having all of its replies, one for each burst.
    latencies: list[int]


class Burst:
    """Some messages that go out together; the next ones follow when all the replies are there."""

    def __init__(self, outgoing: bytes, reply: bytes, messages: int) -> None:
        self.outgoing, self.reply, self.messages = outgoing, reply, messages
        self.missing = len(reply)
        self.first: bytearray | None = bytearray()

    def take(self, data: memoryview) -> bool:
        """Count what came in; True when the burst has been answered. The first answer has to be right byte by byte."""
        self.missing -= len(data)
        if self.missing < 0:
            raise WrongReply(f"{-self.missing} bytes more than {self.messages} echoes have")
        if self.first is not None:
            self.first += data
            if not self.missing:
                if self.first != self.reply:
                    raise WrongReply(f"expected {self.reply[:64]!r}, got {bytes(self.first[:64])!r}")
                self.first = None
        if self.missing:
            return False
        self.missing = len(self.reply)
        return True


class Connection:
    def __init__(self, sock: socket.socket, burst: Burst) -> None:
        self.sock, self.burst = sock, burst
        self.rest = memoryview(b"")
        self.started = 0


class Load:
    """Connections to one server and what each of them says."""

    def __init__(self, socks: Sequence[socket.socket], bursts: Sequence[Burst]) -> None:
        self.connections = {}
        self.poll = select.epoll()
        for sock, burst in zip(socks, bursts, strict=True):
            sock.setblocking(False)
            self.connections[sock.fileno()] = Connection(sock, burst)
            self.poll.register(sock, select.EPOLLIN)
        self.buffer = memoryview(bytearray(2**20))

    def run(self, seconds: float) -> Sample:
        """Keep every connection busy for so long, then wait for the last replies."""
        start = time.perf_counter_ns()
        deadline = start + int(seconds * 1e9)
        latencies: list[int] = []
        messages = 0
        for connection in self.connections.values():
            self.send(connection)
        busy = len(self.connections)
        while busy:
            for connection in self.answered():
                now = time.perf_counter_ns()
                latencies.append(now - connection.started)
                messages += connection.burst.messages
                if now < deadline:
                    self.send(connection)
                else:
                    busy -= 1
        return Sample(messages, (time.perf_counter_ns() - start) / 1e9, latencies)

    def answered(self):
        """The connections that have got all their replies since the last look."""
        events = self.poll.poll(STALLED)
        if not events:
            raise WrongReply(f"nothing came back for {STALLED} seconds")
        for fd, event in events:
            connection = self.connections[fd]
            if event & select.EPOLLOUT:
                self.flush(connection)
            if event & ~select.EPOLLOUT:
                size = connection.sock.recv_into(self.buffer)
                if not size:
                    raise WrongReply("the server closed the connection")
                if connection.burst.take(self.buffer[:size]):
                    yield connection

    def send(self, connection: Connection) -> None:
        connection.started = time.perf_counter_ns()
        outgoing = connection.burst.outgoing
        sent = connection.sock.send(outgoing)
        if sent < len(outgoing):
            connection.rest = memoryview(outgoing)[sent:]
            self.poll.modify(connection.sock, select.EPOLLIN | select.EPOLLOUT)

    def flush(self, connection: Connection) -> None:
        """Send on where the socket's buffer was full."""
        with suppress(BlockingIOError):
            connection.rest = connection.rest[connection.sock.send(connection.rest) :]
        if not connection.rest:
            self.poll.modify(connection.sock, select.EPOLLIN)


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
