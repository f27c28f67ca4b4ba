"""Who reads: the reader, or in its place the task that waits for the next message.

A message that the reader hands to another task costs one more turn of the scheduler than one which that task reads for
itself: a quarter of all that a small message costs. So when the reader has handed one over it stands by, and whoever
receives next, and finds nothing, reads in its place. Whatever is not simply the next message is the reader's again at
once: the end of the stream, a failure, cancellation. And if nobody comes to read before long, because the task is busy
elsewhere, the clock calls the reader back: pings want an answer, and a closing peer wants to be heard.
"""

from __future__ import annotations

import trio

from .keepalive import Keepalive

__all__ = ["StandIn"]

#: Messages that are handed over as ever after a task that did not come to read in time, before it is trusted again.
_AS_EVER = 16


class StandIn:
    """The place of one connection's reader."""

    __slots__ = ("_as_ever", "_clock", "_come", "_event", "_watched", "reading")

    def __init__(self, clock: Keepalive) -> None:
        self._clock = clock
        self._event: trio.Event | None = None
        #: Whether a task is reading in the reader's place.
        self.reading = False
        # Whether the clock looks after this, and whether a task has come to read since it looked last.
        self._watched = self._come = False
        self._as_ever = 0

    @property
    def wanted(self) -> bool:
        """Whether the reader stands by and nobody reads."""
        return self._event is not None and not self.reading and not self._event.is_set()

    def worth_a_try(self) -> bool:
        """Asked for every message that the reader has handed over: whether to stand by for the next."""
        if self._as_ever:
            self._as_ever -= 1
        return not self._as_ever

    async def stand_by(self) -> None:
        """The reader waits until it is called back."""
        self._event = trio.Event()
        self._look_after()
        try:
            await self._event.wait()
        finally:
            self._event = None

    def call_back(self) -> None:
        """Have the reader read again, unless somebody does in its place."""
        if self.wanted:
            assert self._event is not None
            self._event.set()

    def come(self) -> None:
        """A task begins to read."""
        self.reading = self._come = True

    def go(self) -> None:
        """It has read."""
        self.reading = False
        self._look_after()

    def _look_after(self) -> None:
        if not self._watched:
            self._watched, self._come = True, False
            self._clock.watch(self)

    def look(self) -> bool:
        """A visit of the clock. Returns whether it is to come again."""
        self._watched = self._come and self.wanted
        if not self._watched and self.wanted:
            self._as_ever = _AS_EVER
            self.call_back()
        self._come = False
        return self._watched
