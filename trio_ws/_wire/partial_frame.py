"""A frame of the fast lane of which not all has come: the rest of its payload, as it comes.

Its header has been read and is in order; so all that is left to do is to count and to unmask.
"""

from __future__ import annotations

from collections.abc import Sequence

from .frames import mask
from .growing import Growing

__all__ = ["PartialFrame"]


class PartialFrame:
    """One data frame, from its header to the last byte of its payload.

    Args:
        size: Bytes of payload, at least one.
        key: The masking key; None if the frame is not masked.
        kept: Whether the payload is a whole binary message, and kept here until it is complete. Nothing can be wrong
            with it any more, and so no pieces have to be passed on and joined elsewhere.
        last: Whether its message ends with it.
    """

    __slots__ = ("_key", "_size", "kept", "last", "left")

    def __init__(self, size: int, key: bytes | None, *, kept: bool = False, last: bool = True) -> None:
        self._size = size
        self._key = key
        self.last = last
        #: Bytes that have not come.
        self.left = size
        #: What has been kept. If there is none, parts are for :meth:`take` and not for :meth:`keep`.
        self.kept = Growing(size) if kept else None

    def take(self, part: bytes | memoryview) -> bytes | memoryview:
        """The next bytes of the payload, unmasked."""
        content = part if self._key is None else mask(part, self._key, self._size - self.left)
        self.left -= len(part)
        return content

    def keep(self, part: bytes | memoryview) -> Sequence[bytes]:
        """Keep the next bytes of the payload. The message, when these were the last."""
        assert self.kept is not None
        self.kept.add(self.take(part))
        return [] if self.left else [self.kept.take()]

    def so_far(self) -> bytes:
        """What has been kept. What is to come will not be."""
        kept, self.kept = self.kept, None
        return b"" if kept is None else kept.take()
