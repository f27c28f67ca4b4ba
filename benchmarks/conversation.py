"""What one connection says and expects to hear."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Protocol


class WrongReply(Exception):
    """The server did not do what is to be measured."""


class Conversation(Protocol):
    @property
    def outgoing(self) -> bytes:
        """What to send next."""
        ...

    @property
    def messages(self) -> int:
        """How many messages that is; they go out together, and the next ones follow when all the replies are there."""
        ...

    def take(self, data: memoryview) -> bool:
        """Count what came in; True when everything sent has been answered."""
        ...


class Repeated:
    """The same messages over and over. Replies are counted by their bytes; the first have to be right in each byte."""

    def __init__(self, outgoing: bytes, reply: bytes, messages: int) -> None:
        self.outgoing, self.reply, self.messages = outgoing, reply, messages
        self.missing = len(reply)
        self.first: bytearray | None = bytearray()

    def take(self, data: memoryview) -> bool:
        self.missing -= len(data)
        if self.missing < 0:
            raise WrongReply(f"{-self.missing} bytes too many")
        if self.first is not None:
            self.check(data)
        if self.missing:
            return False
        self.missing = len(self.reply)
        return True

    def check(self, data: memoryview) -> None:
        assert self.first is not None
        self.first += data
        if not self.reply.startswith(self.first):
            raise WrongReply(f"not what was sent: {bytes(self.first[:80])!r}")
        if not self.missing:
            self.first = None


class Compressed:
    """Texts that are compressed, by turns. How long a reply is depends on the server, so frames are counted."""

    def __init__(self, texts: list[bytes], outgoing: list[bytes], messages: int) -> None:
        self.bursts = [b"".join(outgoing[start : start + messages]) for start in range(0, len(outgoing), messages)]
        self.messages = messages
        self.turn = 0
        self.heard = 0
        self.buffer = bytearray()
        self.inflate = zlib.decompressobj(wbits=-15)
        self.first = texts[:messages]

    @property
    def outgoing(self) -> bytes:
        return self.bursts[self.turn]

    def take(self, data: memoryview) -> bool:
        self.buffer += data
        for head, payload in split(self.buffer):
            if self.first:
                self.check(head, bytes(payload))
            self.heard += 1
        if self.heard > self.messages:
            raise WrongReply(f"{self.heard - self.messages} messages too many")
        if self.heard < self.messages:
            return False
        self.heard = 0
        self.turn = (self.turn + 1) % len(self.bursts)
        return True

    def check(self, head: int, payload: bytes) -> None:
        """The replies to the first burst have to be the texts."""
        if head & 0x40:
            payload = self.inflate.decompress(payload + b"\x00\x00\xff\xff")
        if payload != self.first.pop(0):
            raise WrongReply(f"not what was sent: {payload!r}")


def split(buffer: bytearray) -> Iterator[tuple[int, bytearray]]:
    """Take the whole frames off the front, as (first byte, payload). They are a server's, and under 64 KiB."""
    start = 0
    while len(buffer) >= start + 4:
        size, payload = buffer[start + 1], start + 2
        if size == 126:
            (size,), payload = struct.unpack_from("!H", buffer, start + 2), start + 4
        if len(buffer) < payload + size:
            break
        yield buffer[start], buffer[payload : payload + size]
        start = payload + size
    del buffer[:start]
