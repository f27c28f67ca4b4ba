"""The load generator: raw sockets, one thread, prebuilt bytes.

Its own work for a message is one ``send``, one ``recv_into`` and a comparison of two lengths, so that servers do not
wait for the library of their clients, and all of them get the same bytes.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from .connecting import STALLED
from .conversation import Conversation, WrongReply


class Sample(NamedTuple):
    messages: int
    seconds: float
    #: Nanoseconds from sending a burst to having all of its replies, one for each burst.
    latencies: list[int]


class Connection:
    __slots__ = ("conversation", "rest", "sock", "started")

    def __init__(self, sock: socket.socket, conversation: Conversation) -> None:
        self.sock, self.conversation = sock, conversation
        self.rest = memoryview(b"")
        self.started = 0


class Load:
    """Connections to one server, each of which sends its next burst when the last one has been answered."""

    def __init__(self, socks: Sequence[socket.socket], conversations: Sequence[Conversation]) -> None:
        self.connections = {}
        self.poll = select.epoll()
        for sock, conversation in zip(socks, conversations, strict=True):
            sock.setblocking(False)
            self.connections[sock.fileno()] = Connection(sock, conversation)
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
                messages += connection.conversation.messages
                if now < deadline:
                    self.send(connection)
                else:
                    busy -= 1
        return Sample(messages, (time.perf_counter_ns() - start) / 1e9, latencies)

    def answered(self) -> Iterator[Connection]:
        """Those that have got all their replies, as it turns out."""
        events = self.poll.poll(STALLED)
        if not events:
            raise WrongReply(f"nothing came back for {STALLED} seconds")
        for fd, event in events:
            connection = self.connections[fd]
            if event & select.EPOLLOUT:
                self.send_rest(connection)
            if event & ~select.EPOLLOUT:
                size = connection.sock.recv_into(self.buffer)
                if not size:
                    raise WrongReply("the server closed the connection")
                if connection.conversation.take(self.buffer[:size]):
                    yield connection

    def send(self, connection: Connection) -> None:
        connection.started = time.perf_counter_ns()
        outgoing = connection.conversation.outgoing
        sent = connection.sock.send(outgoing)
        if sent < len(outgoing):
            connection.rest = memoryview(outgoing)[sent:]
            self.poll.modify(connection.sock, select.EPOLLIN | select.EPOLLOUT)

    def send_rest(self, connection: Connection) -> None:
        """Send on where the socket's buffer was full."""
        with suppress(BlockingIOError):
            connection.rest = connection.rest[connection.sock.send(connection.rest) :]
        if not connection.rest:
            self.poll.modify(connection.sock, select.EPOLLIN)


class FanOut(Load):
    """The first connection talks, and the server sends what it says to all of them."""

    def run(self, seconds: float) -> Sample:
        """Say something, and again when everybody has heard it. Deliveries count, not what was said."""
        start = now = time.perf_counter_ns()
        deadline = start + int(seconds * 1e9)
        latencies: list[int] = []
        talker = next(iter(self.connections.values()))
        while not latencies or now < deadline:
            self.send(talker)
            waiting = len(self.connections)
            while waiting:
                waiting -= sum(1 for _ in self.answered())
            now = time.perf_counter_ns()
            latencies.append(now - talker.started)
        return Sample(len(latencies) * len(self.connections), (now - start) / 1e9, latencies)
