"""A large message is put together as it comes, in memory that it takes as it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.limits.measure import KIB, MIB, heap
from trio_ws._wire.growing import Growing


@given(st.lists(st.binary(max_size=300), min_size=1), st.integers(0, 1000))
def test_what_is_taken_is_what_was_added(parts: list[bytes], to_come: int) -> None:
    whole = b"".join(parts)
    growing = Growing(len(whole) + to_come)
    for part in parts:
        growing.add(memoryview(part))
    assert growing.take() == whole


@pytest.mark.parametrize("size", [MIB - 14, MIB, 100 * MIB])
def test_memory_is_three_times_what_has_come_at_most(size: int) -> None:
    part = bytes(64 * KIB)
    with heap() as measured:
        growing = Growing(size)
        for number in range(1, 17):
            growing.add(part)
            assert measured.peak() <= 3 * number * len(part) + KIB


@pytest.mark.parametrize("part", [512, 8 * KIB, 64 * KIB])
def test_nothing_is_ever_reserved_beyond_the_message(part: int) -> None:
    """Not an eighth more, as a BytesIO does by itself."""
    content = bytes(part)
    with heap() as measured:
        growing = Growing(MIB)
        for _ in range(MIB // part):
            growing.add(content)
        message = growing.take()
        assert measured.peak() <= MIB + KIB
    assert message == bytes(MIB)
