"""Messages in very many fragments: cut off by ``max_fragments``, or put together as they come."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.limits.measure import LINEAR, MIB, MORE
from tests.limits.served import flood, last_frame, receive_exactly, serving
from tests.raw import BINARY, CONTINUATION, PING, frame

MILLION = 1_000_000
#: Frames in a message under default options: 1/64 of a ``max_size`` of 1 MiB, and one that ends it.
DEFAULT = 2**20 // 64 + 1


def fragments(count: int, payload: bytes) -> bytes:
    """The beginning of a message: so many fragments, and its end is still to come."""
    return frame(BINARY, payload, fin=False) + frame(CONTINUATION, payload, fin=False) * (count - 1)


@pytest.mark.parametrize(
    ("payload", "count"),
    [pytest.param(b"x", MILLION, id="a-million-of-1-byte"), pytest.param(b"", 10 * MILLION, id="ten-million-empty")],
)
def test_endless_fragments_are_cut_off_and_cost_no_more_work(payload: bytes, count: int, tmp_path: Path) -> None:
    """They cost what it costs to count up to the limit, however many come behind it."""
    with serving(tmp_path) as server:

        def attack(total: int) -> float:
            """The CPU time that the server spends on so many fragments."""
            data = fragments(total, payload)
            with server.open() as sock:
                before = server.cpu()
                flood(sock, data)
                refusal = last_frame(sock)
            server.statistics()  # it answers, so it is done with what came before
            assert refusal.close_code == 1008
            assert refusal.payload[2:] == f"message over the limit of {DEFAULT} fragments".encode()
            return server.cpu() - before

        once = attack(DEFAULT + 1)
        memory = server.rss()
        server.forget_peak()
        assert attack(count) <= 4 * once  # the kernel's part of it, and the machine's noise
        assert server.peak() - memory <= MIB


@pytest.mark.parametrize(
    ("payload", "count"),
    [pytest.param(b"x", MILLION, id="a-million-of-1-byte"), pytest.param(b"", 200_000, id="200000-empty")],
)
def test_fragments_are_put_together_as_they_come_in_linear_time(payload: bytes, count: int, tmp_path: Path) -> None:
    first = fragments(count // MORE, payload)
    rest = frame(CONTINUATION, payload, fin=False) * (count - count // MORE) + frame(CONTINUATION)
    options = {"max_size": 2 * MILLION, "max_fragments": count + 1, "ping_interval": None}
    with serving(tmp_path, **options) as server, server.open() as sock:
        before, memory = server.cpu(), server.rss()
        server.forget_peak()
        sock.sendall(first + frame(PING))
        assert receive_exactly(sock, 2) == frame(0xA, mask=False)
        once = server.cpu() - before
        sock.sendall(rest)
        echo = frame(BINARY, payload * count, mask=False)
        assert receive_exactly(sock, len(echo)) == echo
        assert server.cpu() - before <= LINEAR * once
        assert server.peak() - memory <= 4 * len(first + rest)


def test_honest_peer_may_send_the_largest_message_in_fragments_of_64_bytes(tmp_path: Path) -> None:
    message = random.Random(6455).randbytes(2**20)
    pieces = [message[start : start + 64] for start in range(0, len(message), 64)]
    data = frame(BINARY, pieces[0], fin=False)
    data += b"".join(frame(CONTINUATION, piece, fin=False) for piece in pieces[1:])
    data += frame(CONTINUATION)
    with serving(tmp_path) as server, server.open() as sock:
        sock.sendall(data)
        echo = frame(BINARY, message, mask=False)
        assert receive_exactly(sock, len(echo)) == echo
