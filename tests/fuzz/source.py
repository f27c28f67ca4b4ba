"""How a target reads its input: a few bytes of choices at the front, what the peer sends behind them.

No fuzzing engine's own reader is used, so that a file of the corpus means the same to all of them. An input that is
too short chooses the first of everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["Source", "pieces"]

_T = TypeVar("_T")

#: How long a piece of the peer's bytes is; two of these alternate.
_SIZES = (10_000, 1, 2, 3, 5, 8, 20, 100)


class Source:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._data)

    def byte(self) -> int:
        return self.take(1)[0] if self else 0

    def take(self, size: int) -> bytes:
        start, self._position = self._position, self._position + size
        return self._data[start : self._position]

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def choose(self, choices: Sequence[_T]) -> _T:
        return choices[self.byte() % len(choices)]


def pieces(data: bytes, shape: int, *, fine: int = 2000) -> Iterator[bytes]:
    """Cut ``data`` as the byte ``shape`` says; 0 leaves it whole, if it is not too long.

    Behind the first ``fine`` bytes the cuts are far apart: each costs time, and has shown by then what it can do.
    """
    start, turn = 0, 0
    while start < len(data):
        size = _SIZES[shape >> 3 * (turn % 2) & 7] if start < fine else _SIZES[0]
        yield data[start : start + size]
        start, turn = start + size, turn + 1
