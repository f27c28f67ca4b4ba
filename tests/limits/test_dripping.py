"""Bytes that come one at a time: each costs the same, however many came before it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.limits.measure import KIB, LINEAR, MIB, MORE, Process, heap, in_a_process_of_its_own, time_ratio
from tests.limits.served import receive_exactly, serving
from tests.raw import ACCEPT, BINARY, TEXT, frame
from trio_ws._connection.inbox import Inbox
from trio_ws._wire.client_handshake import ClientHandshake
from trio_ws._wire.head import MAX_HEAD
from trio_ws._wire.protocol import Piece, Protocol
from trio_ws._wire.server_handshake import RequestReader


def one_by_one(feed: Callable[[bytes], object], data: bytes) -> None:
    for position in range(len(data)):
        feed(data[position : position + 1])


def drip_frame(size: int) -> tuple[float, float, int]:
    """One frame of that size, byte by byte, into a protocol and the inbox behind it.

    Returns:
        CPU seconds for the first eighth, and for all of it; how many bytes of memory the process has grown at most.
    """
    data = frame(BINARY, bytes(size))
    protocol = Protocol("server", max_size=size, max_fragments=1)
    inbox = Inbox(1)

    def feed(byte: bytes) -> None:
        for event in protocol.feed(byte):
            assert isinstance(event, Piece)
            inbox.put_piece(event)

    process = Process(os.getpid())
    before = process.rss()
    process.forget_peak()
    began = time.process_time()
    one_by_one(feed, data[: len(data) // MORE])
    once = time.process_time() - began
    one_by_one(feed, data[len(data) // MORE :])
    assert inbox.receive_nowait() == bytes(size)
    return once, time.process_time() - began, process.peak() - before


def test_frame_of_1_mib_byte_by_byte_takes_linear_time_and_its_own_size() -> None:
    once, whole, grown = in_a_process_of_its_own(drip_frame, MIB)
    assert whole <= LINEAR * once
    assert grown <= 4 * MIB


def test_frame_byte_by_byte_over_a_whole_connection(tmp_path: Path) -> None:
    size = 128 * KIB
    with serving(tmp_path, read_limit=1, ping_interval=None) as server, server.open() as sock:
        before = server.rss()
        server.forget_peak()
        sock.sendall(frame(BINARY, bytes(size)))
        echo = frame(BINARY, bytes(size), mask=False)
        assert receive_exactly(sock, len(echo)) == echo
        assert server.peak() - before <= 4 * size


def drip_frames(count: int) -> None:
    """Frames that are mostly head, byte by byte."""
    protocol = Protocol("server", max_size=126, max_fragments=1)
    one_by_one(protocol.feed, frame(TEXT, b"x") * count)


def test_frame_heads_byte_by_byte_take_linear_time() -> None:
    assert time_ratio(drip_frames, 750, MORE * 750) <= LINEAR


def fields(count: int) -> bytes:
    return (b"X-Field: " + b"x" * 139 + b"\r\n") * count


def request(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: localhost\r\n" + fields(count) + b"\r\n"


def answer(count: int) -> bytes:
    return b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n" + fields(count)


def drip_requests(head: bytes) -> None:
    for _ in range(5):
        one_by_one(RequestReader().feed, head)


def drip_answers(head: bytes) -> None:
    for _ in range(5):
        one_by_one(ClientHandshake(host="localhost", target="/").feed, head)


@pytest.mark.parametrize(
    ("drip", "make"),
    [pytest.param(drip_requests, request, id="request"), pytest.param(drip_answers, answer, id="answer")],
)
def test_head_byte_by_byte_takes_linear_time(drip: Callable[[bytes], None], make: Callable[[int], bytes]) -> None:
    once, more = make(12), make(98)
    assert MORE * len(once) == pytest.approx(len(more), rel=0.05)
    assert len(more) < MAX_HEAD
    assert time_ratio(drip, once, more) <= LINEAR


@pytest.mark.parametrize(
    ("feed", "make"),
    [
        pytest.param(lambda: RequestReader().feed, request, id="request"),
        pytest.param(lambda: ClientHandshake(host="localhost", target="/").feed, answer, id="answer"),
    ],
)
def test_head_byte_by_byte_takes_no_more_memory_than_its_size(
    feed: Callable[[], Callable[[bytes], object]], make: Callable[[int], bytes]
) -> None:
    head = make(98)[:-2]  # it never ends
    with heap() as measured:
        one_by_one(feed(), head)
        assert measured.peak() <= 4 * len(head)


def drip_body(body: bytes) -> None:
    """A page instead of a 101, byte by byte in chunks of one byte."""
    handshake = ClientHandshake(host="localhost", target="/")
    handshake.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    one_by_one(handshake.feed, body)


def test_body_of_a_rejection_byte_by_byte_takes_linear_time() -> None:
    once = b"1\r\nx\r\n" * 500
    assert time_ratio(drip_body, once, MORE * once) <= LINEAR
