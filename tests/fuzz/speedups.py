"""Masking and splitting, in Python and in C, against what a slow reading of RFC 6455 §5.2 says.

Input: a byte of which side reads, then as in ``frames.py``; the byte of cuts says where to start and how much to take.
"""

from __future__ import annotations

import sys

from tests.fuzz.frames import read_conversation
from tests.fuzz.source import Source
from tests.raw import BINARY, TEXT, frame, frames
from trio_ws._wire.frames import mask, mask_in_python, split, split_in_python
from trio_ws._wire.protocol import Role

__all__ = ["fuzz_one", "mask_slowly", "split_slowly"]


def fuzz_one(data: bytes) -> None:
    source = Source(data)
    role: Role = "client" if source.byte() & 1 else "server"
    conversation = read_conversation(source.rest(), role)
    wire, start, most = conversation.wire, conversation.shape & 3, conversation.shape >> 2
    for masked in (True, False):
        for max_size in (conversation.max_size, sys.maxsize):
            expected = split_slowly(wire, start, masked, max_size, most)
            assert split_in_python(wire, start, masked, max_size, most) == expected
            assert split(wire, start, masked, max_size, most) == expected
            assert split(bytearray(wire), start, masked, max_size, most) == expected
    view, key = memoryview(wire)[start:], wire[:4].ljust(4, b"\xff")
    expected_bytes = mask_slowly(wire[start:], key, most)
    assert mask_in_python(view, key, most) == expected_bytes
    assert mask(view, key, most) == expected_bytes


def mask_slowly(data: bytes, key: bytes, offset: int) -> bytes:
    return bytes(byte ^ key[(index + offset) % 4] for index, byte in enumerate(data))


def split_slowly(data: bytes, start: int, masked: bool, max_size: int, most: int) -> tuple[list[str | bytes], int]:
    """A frame is plain if the header is that of the same payload in one frame."""
    messages: list[str | bytes] = []
    for found in frames(data[start:]):
        plain = frame(found.opcode, found.payload, mask=masked)
        header = len(plain) - len(found.payload) - (4 if masked else 0)
        if len(messages) >= most or found.opcode not in (TEXT, BINARY) or len(found.payload) > max_size:
            break
        if data[start : start + header] != plain[:header]:
            break
        try:
            messages.append(found.payload if found.opcode == BINARY else found.payload.decode())
        except UnicodeDecodeError:
            break
        start += len(plain)
    return messages, start
