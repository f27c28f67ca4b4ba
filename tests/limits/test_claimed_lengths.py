"""A frame that announces more than it brings: refused from its header, and no memory for what it claims."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.limits.measure import KIB, heap
from tests.limits.served import last_frame, receive_exactly, serving
from tests.raw import BINARY, PING, frame
from trio_ws._wire.protocol import Failure, Protocol, Role

CONNECTIONS = 1000

#: RFC 6455 §5.2: "the most significant bit MUST be 0", so from 2^63 on it is not the size that is wrong.
CLAIMS = [
    pytest.param(2**30, 1009, id="1-GiB"),
    pytest.param(2**63 - 1, 1009, id="2^63-1"),
    pytest.param(2**63, 1002, id="2^63"),
    pytest.param(2**64 - 1, 1002, id="2^64-1"),
]


def announcing(length: int, *, mask: bool = True) -> bytes:
    """The header of a frame of that length."""
    return struct.pack("!BBQ", 0x80 | BINARY, mask << 7 | 127, length) + b"mask" * mask


@pytest.mark.parametrize(("length", "code"), CLAIMS)
def test_thousand_frames_over_the_limit_are_refused_from_their_headers(length: int, code: int, tmp_path: Path) -> None:
    with serving(tmp_path) as server, ExitStack() as stack:
        stack.enter_context(server.open())
        before = server.rss()
        server.forget_peak()
        clients = [stack.enter_context(server.open()) for _ in range(CONNECTIONS)]
        for sock in clients:
            sock.sendall(announcing(length))
        assert {last_frame(sock).close_code for sock in clients} == {code}
        assert server.peak() - before <= CONNECTIONS * 64 * KIB


def test_thousand_frames_that_only_claim_their_size_cost_nothing_without_a_limit(tmp_path: Path) -> None:
    with serving(tmp_path, max_size=None) as server, ExitStack() as stack:
        stack.enter_context(server.open())
        before = server.rss()
        server.forget_peak()
        clients = [stack.enter_context(server.open()) for _ in range(CONNECTIONS)]
        for sock in clients:
            sock.sendall(frame(PING) + announcing(2**30) + b"and no more")
        for sock in clients:
            receive_exactly(sock, 2)  # the pong, so it has seen what came with the ping
        assert server.statistics()["open_connections"] == CONNECTIONS + 1
        assert server.peak() - before <= CONNECTIONS * 64 * KIB


@pytest.mark.parametrize("max_size", [2**20, None])
@pytest.mark.parametrize(("length", "code"), CLAIMS)
@pytest.mark.parametrize("role", ["client", "server"])
def test_claim_allocates_nothing(role: Role, length: int, code: int, max_size: int | None) -> None:
    """Also not memory that nobody touches, which no process would be seen to hold."""
    protocol = Protocol(role, max_size=max_size, max_fragments=100)
    header = announcing(length, mask=role == "server")
    with heap() as measured:
        events = protocol.feed(header)
        assert measured.peak() < 16 * KIB
    allowed = max_size is None and length < 2**63
    assert [event.code for event in events if isinstance(event, Failure)] == ([] if allowed else [code])
