"""A server in a process of its own, and clients made of blocking sockets: cheap, so that thousands take no time."""

from __future__ import annotations

import json
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.limits.measure import Process
from tests.raw import REQUEST, Frame, frames

__all__ = ["Served", "flood", "last_frame", "read_to_end", "receive_exactly", "receive_frame", "reset", "serving"]

PROGRAM = Path(__file__).parent / "programs" / "server.py"

#: Seconds that one call of a socket may wait; only a server that hangs makes it wait so long.
LIMIT = 30


class Served(Process):
    """The program, running."""

    def __init__(self, pid: int, port: int, log: Path) -> None:
        super().__init__(pid)
        self.port = port
        self._log = log

    def log(self) -> str:
        """What it has logged so far, from warnings up."""
        return self._log.read_text()

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def open(self, request: bytes = REQUEST) -> socket.socket:
        """A connection whose opening handshake is done."""
        sock = self.connect()
        sock.sendall(request)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = sock.recv(4096)
            assert data, f"the server ended the handshake: {head!r}"
            head += data
        assert head.startswith(b"HTTP/1.1 101 "), head
        return sock

    def statistics(self) -> dict[str, int]:
        """What it says of itself. This very request is one of its handshakes in progress, and one of its tasks."""
        with self.connect() as sock:
            sock.sendall(b"GET /statistics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = read_to_end(sock)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        statistics: dict[str, int] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return statistics

    def wait_for(self, condition: Callable[[dict[str, int]], object]) -> dict[str, int]:
        """What it says of itself, as soon as that is so."""
        deadline = time.monotonic() + LIMIT
        while not condition(statistics := self.statistics()):
            assert time.monotonic() < deadline, statistics
        return statistics


@contextmanager
def serving(directory: Path, *, max_fds: int | None = None, **options: Any) -> Iterator[Served]:
    """Run the program with these options of ``serve_websocket``. It has to be alive at the end, and to end well."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a test may have thousands of clients
    log = directory / "server.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, PROGRAM, json.dumps(options)], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            if max_fds is not None:
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (max_fds, max_fds))
            yield Served(process.pid, int(line), log)
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
    assert process.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(size - len(data), 2**16))
        assert chunk, f"the connection ended after {len(data)} of {size} bytes"
        data += chunk
    return bytes(data)


def receive_frame(sock: socket.socket) -> Frame:
    """The next frame."""
    data = receive_exactly(sock, 2)
    if extended := {126: 2, 127: 8}.get(data[1], 0):
        data += receive_exactly(sock, extended)
    data += receive_exactly(sock, int.from_bytes(data[2:]) if extended else data[1])
    return next(frames(data))


def read_to_end(sock: socket.socket) -> bytes:
    """Everything until the server closes the connection, or resets it."""
    data = bytearray()
    try:
        while chunk := sock.recv(2**16):
            data += chunk
    except ConnectionResetError:
        pass
    return bytes(data)


def last_frame(sock: socket.socket) -> Frame:
    """The last frame until the server closes the connection."""
    return list(frames(read_to_end(sock)))[-1]


def flood(sock: socket.socket, data: bytes) -> None:
    """Send, and do not mind if the server has had enough before the end."""
    with suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(data)


def reset(sock: socket.socket) -> None:
    """Close this socket with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
