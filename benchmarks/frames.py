"""The bytes that the load generator sends and expects, made beforehand and the same for every server."""

from __future__ import annotations

import struct

TEXT, BINARY, CONTINUATION, CLOSE = 0x1, 0x2, 0x0, 0x8

# The example of RFC 6455 §1.3. A fixed key costs the servers what a fresh one does.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x37\xfa\x21\x3d"  # the example of RFC 6455 §5.7


def request(port: int, *, deflate: bool) -> bytes:
    """An opening handshake such as a browser sends."""
    lines = [
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    if deflate:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    return "\r\n".join([*lines, "", ""]).encode()


def masked(payload: bytes) -> bytes:
    key = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def frame(opcode: int, payload: bytes, *, mask: bool, fin: bool = True, compressed: bool = False) -> bytes:
    head = bytes([fin << 7 | compressed << 6 | opcode])
    flag = mask << 7
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 2**16:
        head += struct.pack("!BH", flag | 126, len(payload))
    else:
        head += struct.pack("!BQ", flag | 127, len(payload))
    return head + MASK + masked(payload) if mask else head + payload


def fragmented(opcode: int, payload: bytes, count: int) -> bytes:
    """A message of a client in ``count`` frames of the same size, more or less."""
    cuts = [len(payload) * index // count for index in range(count + 1)]
    return b"".join(
        frame(
            CONTINUATION if index else opcode, payload[cuts[index] : cuts[index + 1]], mask=True, fin=index + 1 == count
        )
        for index in range(count)
    )


def payload_of(size: int) -> bytes:
    """Binary that is no repetition of a few bytes, and the same in every run."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


GOODBYE = frame(CLOSE, struct.pack("!H", 1000), mask=True)
