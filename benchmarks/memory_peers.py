"""Peers that bring a connection to one of its limits, and then go on pressing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from . import frames
from .memory_kernel import queued
from .memory_server import LARGE
from .process import Program

__all__ = ["Assembling", "Flooding", "NotReading", "Peers", "ReadingOne"]

PING = 0x9
WORD = frames.frame(frames.TEXT, b"go on", mask=True)

#: Seconds in which a server grows that is flooded and not full yet, and between two looks at one that is.
FILL, LOOK = 0.5, 0.05
#: How often they press.
TIMES = 40


class Peers:
    """The clients of one server."""

    def __init__(self, socks: Sequence[socket.socket], server: Program) -> None:
        self.socks, self.server = socks, server

    def fill(self) -> None:
        """Bring the server to its limit."""
        raise NotImplementedError

    def press(self) -> Iterator[None]:
        """Go on; each time round, somebody may look at what the server holds."""
        raise NotImplementedError


class Flooding(Peers):
    """Each sends the same frame over and over, as much as TCP takes; the server takes one now and then."""

    def __init__(self, socks: Sequence[socket.socket], server: Program, frame: bytes) -> None:
        super().__init__(socks, server)
        # Small frames are sent many at a time.
        self.frames = memoryview(frame * (1 + 2**16 // len(frame)))
        self.rest = [self.frames[:0] for _ in socks]
        for sock in socks:
            sock.setblocking(False)

    def fill(self) -> None:
        held = 0
        while self.server.rss() > 1.01 * held:
            held = self.server.rss()
            deadline = time.monotonic() + FILL
            while time.monotonic() < deadline:
                self.pour()

    def press(self) -> Iterator[None]:
        for _ in range(TIMES):
            self.pour()
            time.sleep(LOOK)
            yield

    def pour(self) -> None:
        for index, sock in enumerate(self.socks):
            with suppress(BlockingIOError):
                while True:
                    rest = self.rest[index] or self.frames
                    self.rest[index] = rest[sock.send(rest) :]


class Assembling(Peers):
    """Each sends a message but for its last byte; then that one, and another message but for its last byte."""

    def __init__(self, socks: Sequence[socket.socket], server: Program, frame: bytes) -> None:
        super().__init__(socks, server)
        self.frame = frame

    def fill(self) -> None:
        for sock in self.socks:
            sock.sendall(self.frame[:-1])
        self.wait_until_read()

    def wait_until_read(self) -> None:
        """A server that does nothing may just not have its turn, on a busy machine."""
        port = self.socks[0].getpeername()[1]
        self.server.settle()
        while queued(port).received:
            self.server.settle()

    def press(self) -> Iterator[None]:
        for _ in range(TIMES):
            for sock in self.socks:
                sock.sendall(self.frame[-1:] + self.frame[:-1])
            self.wait_until_read()
            yield


class NotReading(Peers):
    """None reads what the server sends; then each reads a little, and asks for pongs, which are more to send."""

    def fill(self) -> None:
        self.say_a_word()

    def say_a_word(self) -> None:
        for sock in self.socks:
            sock.sendall(WORD)
        self.server.settle(0.3)

    def press(self) -> Iterator[None]:
        pings = frames.frame(PING, bytes(100), mask=True) * 100
        for _ in range(TIMES):
            for sock in self.socks:
                sock.sendall(pings)
                sock.recv(2**16)
            self.server.settle()
            yield


class ReadingOne(NotReading):
    """Each reads the one large message that the server began with, and says that it may go on."""

    def fill(self) -> None:
        for sock in self.socks:  # or what the server holds would find room here
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        super().fill()

    def press(self) -> Iterator[None]:
        for sock in self.socks:
            receive_exactly(sock, len(frames.frame(frames.BINARY, LARGE, mask=False)))
        self.say_a_word()
        yield


def receive_exactly(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(sock.recv(min(size, 2**16)))
