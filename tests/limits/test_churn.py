"""Very many clients, one after the other, and very many messages: nothing is left of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from tests.limits.measure import MIB
from tests.limits.served import Served, last_frame, read_to_end, receive_exactly, reset, serving
from tests.raw import BINARY, REQUEST, TEXT, close, frame

#: Of each of the five kinds.
CYCLES = 4000
MILLION = 1_000_000


def clean(server: Served) -> None:
    with server.open() as sock:
        sock.sendall(frame(TEXT, b"hello") + close(1000))
        assert last_frame(sock).close_code == 1000


def compressed(server: Served) -> None:
    """Both directions of compression are used, so that there is something to let go of."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    message = zlib.compress(bytes(100), wbits=-15)
    with server.open(REQUEST.removesuffix(b"\r\n") + offer) as sock:
        sock.sendall(frame(BINARY, message, rsv=4) + close(1000))
        assert last_frame(sock).close_code == 1000


def by_rst(server: Served) -> None:
    sock = server.open()
    sock.sendall(frame(TEXT, b"hello"))
    reset(sock)


def half_a_handshake(server: Served) -> None:
    with server.connect() as sock:
        sock.sendall(REQUEST[: len(REQUEST) // 2])


def rejected(server: Served) -> None:
    with server.connect() as sock:
        sock.sendall(REQUEST.replace(b"Version: 13", b"Version: 12"))
        assert read_to_end(sock).startswith(b"HTTP/1.1 426 ")


KINDS: list[Callable[[Served], None]] = [clean, compressed, by_rst, half_a_handshake, rejected]


def cycle(server: Served, times: int) -> dict[str, int]:
    """Connect and disconnect so many times in each way; return what the server has left of that."""
    for _ in range(times):
        for connect in KINDS:
            connect(server)
    statistics = server.wait_for(lambda now: now["handshakes_in_progress"] == 1 and not now["open_connections"])
    return {"tasks": statistics["tasks"], "fds": server.fds(), "rss": server.rss()}


def test_twenty_thousand_clients_leave_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        warm = cycle(server, CYCLES // 10)
        after = cycle(server, CYCLES - CYCLES // 10)
        for what in ("tasks", "fds"):
            # The request that asked for them a moment ago may not have quite gone yet.
            assert abs(after[what] - warm[what]) <= 2
        assert after["rss"] - warm["rss"] <= MIB
        accepted = server.statistics()["accepted"]
    assert accepted == 3 * CYCLES


def numbers(count: int, *, mask: bool) -> bytes:
    return b"".join(frame(BINARY, number.to_bytes(4), mask=mask) for number in range(count))


def test_million_messages_on_one_connection_leave_nothing_behind(tmp_path: Path) -> None:
    batch = 1000
    data = numbers(batch, mask=True)
    with serving(tmp_path, ping_interval=None) as server, server.open(REQUEST.replace(b"/chat", b"/count")) as sock:
        warm = 0
        for sent in range(0, MILLION, batch):
            sock.sendall(data)
            if sent == MILLION // 10:
                warm = server.rss()
                server.forget_peak()
        sock.sendall(frame(TEXT, b"how many?"))
        answer = frame(TEXT, str(MILLION + 1).encode(), mask=False)
        assert receive_exactly(sock, len(answer)) == answer
        assert server.peak() - warm <= MIB
        sock.sendall(close())
        assert last_frame(sock).close_code == 1000


def test_very_many_messages_there_and_back_leave_nothing_behind(tmp_path: Path) -> None:
    batch, count = 1000, 200_000
    data, answer = numbers(batch, mask=True), numbers(batch, mask=False)
    with serving(tmp_path, ping_interval=None) as server, server.open() as sock:
        warm = 0
        for sent in range(0, count, batch):
            sock.sendall(data)
            assert receive_exactly(sock, len(answer)) == answer
            if sent == count // 10:
                warm = server.rss()
                server.forget_peak()
        assert server.peak() - warm <= MIB
