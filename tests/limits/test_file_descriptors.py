"""No file descriptor is left for another client: those that are here live on, and the next is accepted when one is."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from tests.limits.served import receive_exactly, serving
from tests.raw import TEXT, close, frame

MAX_FDS = 64


def test_server_without_free_fds_serves_who_is_there_and_accepts_again_when_it_can(tmp_path: Path) -> None:
    with serving(tmp_path, max_fds=MAX_FDS) as server, ExitStack() as stack:
        clients = [stack.enter_context(server.open()) for _ in range(10)]
        too_many = [stack.enter_context(server.connect()) for _ in range(2 * MAX_FDS)]
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for sock in clients:
                sock.sendall(frame(TEXT, b"hello"))
                assert receive_exactly(sock, 7) == frame(TEXT, b"hello", mask=False)
        assert server.fds() == MAX_FDS
        log = server.log()
        assert "Too many open files" in log
        assert len(log.splitlines()) == 1

        for sock in too_many:
            sock.close()
        began = time.monotonic()
        with server.open() as late:
            assert time.monotonic() - began < 1
            late.sendall(frame(TEXT, b"hello"))
            assert receive_exactly(late, 7) == frame(TEXT, b"hello", mask=False)
        for sock in clients:
            sock.sendall(close())
            assert receive_exactly(sock, 4) == close(mask=False)
        assert server.log() == log
