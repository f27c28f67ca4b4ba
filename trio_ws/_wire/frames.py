"""The arithmetic of frames (RFC 6455 §5.2 and §5.3): masking, and whole messages cut out of what was read.

Both functions exist twice, with the same results: here in Python, and in ``_speedups.c``, which is used if it was
built and the environment variable ``TRIO_WS_PURE_PYTHON`` is not set. They judge nothing: :func:`split` stops in
front of whatever is not plain, and leaves it to the state machine.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from struct import Struct

__all__ = [
    "BINARY",
    "FIN",
    "PING",
    "PONG",
    "RSV1",
    "TEXT",
    "accelerated",
    "make_frame",
    "mask",
    "mask_in_python",
    "read_header",
    "split",
    "split_in_python",
    "whole_size",
]

# First bytes of frames (§5.2): FIN, no reserved bit, and the opcode.
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
FIN = 0x80
#: The bit that marks a compressed message (RFC 7692 §6).
RSV1 = 0x40
_KEY_SIZE = 4
_BYTE = [bytes([number]) for number in range(256)]
_MEDIUM, _LONG = Struct("!BBH"), Struct("!BBQ")

_number = int.from_bytes
#: From this size on four translations, each of every fourth byte, are faster than one XOR of two long numbers: 5.9
#: against 7.7 us for 4 KiB, 1.2 against 3.3 ms for 1 MiB. For 64 bytes they take 1.6 us, the XOR 0.4.
_LARGE = 1024
_EVERY_BYTE = _number(bytes(range(256)))
_ALL_ONES = _number(b"\x01" * 256)


def mask_in_python(data: bytes | bytearray | memoryview, key: bytes, offset: int = 0, /) -> bytes:
    """Mask or unmask a part of a frame's payload: XOR with the key, over and over (§5.3).

    Args:
        data: Any bytes that lie in one piece.
        key: The masking key, 4 bytes.
        offset: How many bytes of the payload came before ``data``.

    Raises:
        ValueError: The key does not have 4 bytes.
        BufferError: ``data`` does not lie in one piece.
    """
    if len(key) != _KEY_SIZE:
        raise ValueError(f"a masking key has 4 bytes, not {len(key)}")
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    if offset := offset & 3:
        key = key[offset:] + key[:offset]
    return bytes(_xor(view, key, view.nbytes))


def split_in_python(
    data: bytes | bytearray, start: int, masked: bool, max_size: int, most: int, /
) -> tuple[list[str | bytes], int]:
    """Take whole messages from the front: frames with FIN and nothing unusual about them, as nearly all frames are.

    It stops in front of the first frame that is anything else: not there completely, a control frame, a fragment, with
    reserved bits, masked if it should not be or the other way round, with a length that is too long or not in its
    shortest form, or a text that is not UTF-8.

    Args:
        data: What was read.
        start: Where in ``data`` a frame begins, at least 0.
        masked: Whether frames have to be masked (§5.1): True for those of a client.
        max_size: Bytes of payload that a message may have.
        most: How many messages to take at most.

    Returns:
        The messages, and where the first byte stands that was not taken.

    Raises:
        ValueError: ``start`` is below 0.
    """
    if start < 0:
        raise ValueError(f"a frame cannot begin at {start}")
    messages: list[str | bytes] = []
    end = len(data)
    # Without its mask bit, the second byte is the length: below 0 if the bit is missing, over 127 if it should be.
    mask_bit, key_size = (0x80, _KEY_SIZE) if masked else (0, 0)
    while len(messages) < most and start + 2 <= end:
        first = data[start]
        size = data[start + 1] - mask_bit
        payload = start + 2 + key_size
        if size > 125:
            payload += 2 if size == 126 else 8
            size = _long_size(data, start, size) if payload <= end else -1
        stop = payload + size
        if not 0 <= size <= max_size or stop > end or (first != TEXT and first != BINARY):
            break
        message: bytes | bytearray = data[payload:stop]
        if masked:
            message = _xor(message, data[payload - _KEY_SIZE : payload], size)
        try:
            messages.append(bytes(message) if first == BINARY else str(message, "utf-8"))
        except UnicodeDecodeError:
            break
        start = stop
    return messages, start


def read_header(data: bytes, start: int, masked: bool) -> tuple[int, int] | None:
    """Where the payload of the frame at ``start`` begins, and how long it is.

    Returns:
        None for a header with which :func:`split` has something wrong. Of one that is not there completely, the payload
        begins behind the end of ``data``, and is 0 bytes long as long as its length is not there.
    """
    missing = len(data) + 1, 0
    if start + 2 > len(data):
        return missing
    mask_bit, key_size = (0x80, _KEY_SIZE) if masked else (0, 0)
    size = data[start + 1] - mask_bit
    payload = start + 2
    if not 0 <= size <= 127:
        return None
    if size > 125:
        payload += 2 if size == 126 else 8
        if payload > len(data):
            return missing
        size = _long_size(data, start, size)
    return None if size < 0 else (payload + key_size, size)


def whole_size(head: bytes) -> int | None:
    """How long the frame is whose first bytes these are, header included, whatever is wrong with it; None: too few."""
    if len(head) < 2:
        return None
    short = head[1] & 0x7F
    header = 2 + (0 if short < 126 else 2 if short == 126 else 8) + (_KEY_SIZE if head[1] & 0x80 else 0)
    if len(head) < header:
        return None
    return header + (short if short < 126 else _number(head[2:4]) if short == 126 else _number(head[2:10]))


def make_frame(first: int, payload: bytes, masked: bool) -> tuple[bytes, bytes]:
    """A frame, in two parts that may be written one behind the other: so a large payload need not be copied.

    Args:
        first: The first byte: FIN, reserved bits and opcode.
        payload: As it is before it is masked.
        masked: Whether to mask it, with a new key (§5.3).
    """
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    if size < 126:
        header = _BYTE[first] + _BYTE[mask_bit | size]
    elif size < 65536:
        header = _MEDIUM.pack(first, mask_bit | 126, size)
    else:
        header = _LONG.pack(first, mask_bit | 127, size)
    if not masked:
        return header, payload
    # §5.3: "The masking key MUST be derived from a strong source of entropy". One system call, 0.5 us.
    key = os.urandom(_KEY_SIZE)
    return header + key, mask(payload, key)


def _xor(data: bytes | bytearray | memoryview, key: bytes | bytearray, size: int) -> bytes | bytearray:
    if size < _LARGE:
        return (_number(data) ^ _number((key * (size // 4 + 1))[:size])).to_bytes(size)
    masked = bytearray(data)
    for place, byte in enumerate(key):
        masked[place::4] = masked[place::4].translate(_table(byte))
    return masked


@cache  # at most 256 of 256 bytes
def _table(byte: int) -> bytes:
    """What every byte becomes by XOR with this one."""
    return (_EVERY_BYTE ^ byte * _ALL_ONES).to_bytes(256)


def _long_size(data: bytes | bytearray, start: int, short: int) -> int:
    """A length of 2 or 8 bytes; -1 if that is not the shortest form (§5.2), or if the mask bit is there unasked."""
    if short == 126:
        size = _number(data[start + 2 : start + 4])
        return size if size > 125 else -1
    size = _number(data[start + 2 : start + 10])
    return size if short == 127 and size > 0xFFFF else -1


mask, split = mask_in_python, split_in_python
accelerated: bool = False
if not os.environ.get("TRIO_WS_PURE_PYTHON"):
    with suppress(ImportError):  # it is optional: without a compiler there is none
        from ._speedups import mask, split

        accelerated = True
