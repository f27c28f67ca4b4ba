"""A server for one client at a time that is next to nothing: it reads no frame, it only counts bytes."""

from __future__ import annotations

import base64
import hashlib
import re
import socket

from . import frames

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


def echo_until_closed(listener: socket.socket, payload: bytes, patience: float = 30) -> None:
    """Take one connection and answer each frame as long as that of ``payload`` with it, until something else comes."""
    outgoing = frames.frame(frames.BINARY, payload, mask=False)
    size = len(frames.frame(frames.BINARY, payload, mask=True))
    listener.settimeout(patience)
    sock, _ = listener.accept()
    with sock:
        sock.settimeout(patience)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(response(read_head(sock)))
        pending = 0
        while (data := sock.recv(2**16)) and data[0] & 0xF != frames.CLOSE:
            whole, pending = divmod(pending + len(data), size)
            sock.sendall(outgoing * whole)
        if data:
            sock.sendall(frames.frame(frames.CLOSE, b"\x03\xe8", mask=False))


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(4096)
    return head


def response(head: bytes) -> bytes:
    key = re.search(rb"sec-websocket-key: *(\S+)", head, re.IGNORECASE)
    assert key, head
    accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
