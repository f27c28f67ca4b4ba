"""The figures in the comments of the hot path, in so few rounds that only the great differences show."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmarks run on Linux only", allow_module_level=True)

from benchmarks.tricks import figures


def test_each_trick_saves_what_it_is_there_for() -> None:
    found = dict(figures(50))
    assert min(found.values()) > 0
    assert found["64 B read in the fast lane"] < found["64 B read by wsproto"]
    assert found["the same without the C extension"] < found["64 B read by wsproto"]
    assert found["64 KiB read in the fast lane, in one piece"] < found["64 KiB read in the fast lane, in two"]
    assert found["64 B made in the fast lane"] < found["64 B made by wsproto"]
    assert found["16 frames in one write"] < found["16 frames in as many writes"] / 2
