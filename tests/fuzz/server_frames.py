"""A server reads what a client sends on an open connection. Input: see ``frames.py``."""

from __future__ import annotations

from tests.fuzz.frames import check


def fuzz_one(data: bytes) -> None:
    check(data, "server")
