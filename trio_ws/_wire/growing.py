"""The bytes of a large message, put together as they come."""

from __future__ import annotations

from io import BytesIO

__all__ = ["Growing"]


class Growing:
    """A buffer for so many bytes, if they really come: it takes memory for three times of what has come at most.

    It never holds a byte more than the message, and that is most of what it gains: left to itself a BytesIO reserves
    an eighth too much and gives it back in the end. The memory of such a message goes back to the system and is got
    anew, page by page, for each of them: 250 page faults for 1 MiB, which took longer than all the rest.
    """

    __slots__ = ("_buffer", "_come", "_room", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._buffer = BytesIO()
        self._come = self._room = 0

    def add(self, part: bytes | memoryview) -> None:
        self._come += len(part)
        if self._come > self._room:
            self._make_room(len(part))
        self._buffer.write(part)

    def _make_room(self, coming: int) -> None:
        # Not 2 * come alone: if that falls a little short of the whole, BytesIO takes the step to it for a small one,
        # of which there may be more, and reserves that eighth.
        self._room = self._size if self._size <= 3 * self._come else 2 * self._come
        self._buffer.seek(self._room - 1)
        self._buffer.write(b"\0")
        self._buffer.seek(self._come - coming)

    def take(self) -> bytes:
        """All that has come. Nothing may follow."""
        self._buffer.truncate()
        return self._buffer.getvalue()
