"""A frame of the fast lane of which not all has come: the rest of its payload, as it comes.

Its header has been read and is in order; so all that is left to do is to count and to unmask.
"""

from __future__ import annotations

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
    """

    __slots__ = ("_come", "_kept", "_key", "left")

    def __init__(self, size: int, key: bytes | None, *, kept: bool) -> None:
        self._key = key
        self._kept = Growing(size) if kept else None
        self._come = 0
        #: Bytes that have not come.
        self.left = size

    @property
    def kept(self) -> bool:
        """Whether parts are for :meth:`keep`, or for :meth:`take`."""
        return self._kept is not None

    def take(self, part: bytes | memoryview) -> bytes | memoryview:
        """The next bytes of the payload, unmasked."""
        content = part if self._key is None else mask(part, self._key, self._come)
        self._come += len(part)
        self.left -= len(part)
        return content

    def keep(self, part: bytes | memoryview) -> bytes | None:
        """Keep the next bytes of the payload; all of it, when these were the last."""
        assert self._kept is not None
        self._kept.add(self.take(part))
        return None if self.left else self._kept.take()

    def so_far(self) -> bytes:
        """What has been kept. What is to come will not be."""
        kept, self._kept = self._kept, None
        return b"" if kept is None else kept.take()
