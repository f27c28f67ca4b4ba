"""Who reads: the reader, or in its place the task that waits for the next message.

A message that the reader hands to another task costs a turn of the scheduler more than one which that task reads for
itself: a quarter of all that a small message costs. So a task that receives, and finds nothing, takes the place of a
reader that has nothing to do but to wait. Whatever is not simply the next message is the reader's again at once: the
end of the stream, a failure, cancellation. And if that task does not come back before long, because it is busy
elsewhere, the clock calls the reader back: pings want an answer, and a peer that closes wants to be heard.
"""

from __future__ import annotations

import trio

from .keepalive import Keepalive

__all__ = ["StandIn"]

#: So often the reader keeps its place after a task that did not come back in time, before another is trusted with it.
_AS_EVER = 16


class StandIn:
    """The place of one connection's reader."""

    __slots__ = ("_as_ever", "_clock", "_come", "_reader", "_watched", "reading")

    def __init__(self, clock: Keepalive) -> None:
        self._clock = clock
        #: The reader's task while it stands by.
        self._reader: trio.lowlevel.Task | None = None
        #: Whether another task is reading in its place.
        self.reading: bool = False
        # Whether the clock looks after this, and whether a task has come to read since it looked last.
        self._watched = self._come = False
        self._as_ever = 0

    @property
    def wanted(self) -> bool:
        """Whether the reader stands by and nobody reads."""
        return self._reader is not None and not self.reading

    def trusted(self) -> bool:
        """Whether a task that receives may take the reader's place; ask for every message."""
        if self._as_ever:
            self._as_ever -= 1
        return not self._as_ever

    def come(self) -> None:
        """A task begins to read."""
        self.reading = self._come = True

    def go(self) -> None:
        """It has read, and is busy elsewhere until it comes again."""
        self.reading = False
        self._look_after()

    def give_back(self) -> None:
        """It will not come again before the reader has done something."""
        self.reading = False
        self.wake()

    async def stand_by(self) -> None:
        """The reader waits until it is woken."""
        self._reader = trio.lowlevel.current_task()
        if not self.reading:
            self._look_after()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        # What an Event does, without the objects of one: there may be ten thousand readers that stand by.
        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self) -> None:
        """Have the reader see whether there is something to do; it reads again if nobody does in its place."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            trio.lowlevel.reschedule(reader)

    def call_back(self) -> None:
        """Have the reader read again, unless somebody does in its place."""
        if self.wanted:
            self.wake()

    def _look_after(self) -> None:
        if not self._watched:
            self._watched, self._come = True, False
            self._clock.watch(self)

    def look(self) -> bool:
        """A visit of the clock. Returns whether it is to come again."""
        self._watched = self._come and self.wanted
        if self.wanted and not self._watched:
            self._as_ever = _AS_EVER
            self.wake()
        self._come = False
        return self._watched
