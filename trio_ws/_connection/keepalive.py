"""One clock for many connections: it says when each is due for a ping, and looks after readers that stand by.

A task and a timer for each connection would be the larger part of what an idle connection costs. All connections of
a server share one interval, so in the order in which they were last visited they are also in the order in which they
are due, and the clock only ever looks at the first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

__all__ = ["Keepalive"]


#: Seconds after which a reader that stands by is looked after; so it is called back in twice as many at most.
_TICK = 0.01


class Pinged(Protocol):
    """What the clock knows of a connection."""

    def keep_alive(self) -> None: ...


class Watched(Protocol):
    """What it knows of a reader that stands by."""

    def look(self) -> bool: ...


class Keepalive:
    """Calls ``keep_alive()`` of every connection added, ``interval`` seconds after it was added and ever after."""

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        # Not a dict: taking the first key of one whose front keeps being deleted is linear.
        self._due: OrderedDict[Pinged, float] = OrderedDict()
        self._watched: list[Watched] = []
        self._lot = trio.lowlevel.ParkingLot()

    def add(self, connection: Pinged) -> None:
        if self._interval is not None:
            self._due[connection] = trio.current_time() + self._interval

    def remove(self, connection: Pinged) -> None:
        """Forget a connection; one that is not there is no error."""
        self._due.pop(connection, None)

    def watch(self, watched: Watched) -> None:
        """Call its ``look()`` in a moment, and again as long as that returns True."""
        self._watched.append(watched)
        self._lot.unpark_all()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            next_due = self._visit_those_due()
            if self._watched:
                await trio.sleep_until(min(next_due, trio.current_time() + _TICK))
                watched, self._watched = self._watched, []
                self._watched += [reader for reader in watched if reader.look()]
            else:
                with trio.move_on_at(next_due):
                    await self._lot.park()

    def _visit_those_due(self) -> float:
        """Returns when this is to be done next."""
        if self._interval is None:
            return math.inf
        # Nobody can become due earlier than one interval after being added, so nobody has to wake this up.
        now = trio.current_time()
        while self._due:
            connection, due = next(iter(self._due.items()))
            if due > now:
                return due
            self._due.move_to_end(connection)
            self._due[connection] = now + self._interval
            connection.keep_alive()
        return now + self._interval

    async def run_for(self, wait_closed: Callable[[], Awaitable[object]]) -> None:
        """Runs until this returns: for the clock of one connection in a nursery that may live longer."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            await wait_closed()
            nursery.cancel_scope.cancel()
