"""A client reads what a server sends on an open connection. Input: see ``frames.py``."""

from __future__ import annotations

from tests.fuzz.frames import check


def fuzz_one(data: bytes) -> None:
    check(data, "client")
