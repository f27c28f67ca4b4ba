"""One clock for many connections: it says when each is due for a ping.

A task and a timer for each connection would be the larger part of what an idle connection costs. All connections of
a server share one interval, so in the order in which they were last visited they are also in the order in which they
are due, and the clock only ever looks at the first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import trio

__all__ = ["Keepalive"]


class Pinged(Protocol):
    """What the clock knows of a connection."""

    def keep_alive(self) -> None: ...


class Keepalive:
    """Calls ``keep_alive()`` of every connection added, ``interval`` seconds after it was added and ever after."""

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        # Not a dict: taking the first key of one whose front keeps being deleted is linear.
        self._due: OrderedDict[Pinged, float] = OrderedDict()

    def add(self, connection: Pinged) -> None:
        if self._interval is not None:
            self._due[connection] = trio.current_time() + self._interval

    def remove(self, connection: Pinged) -> None:
        """Forget a connection; one that is not there is no error."""
        self._due.pop(connection, None)

    async def run(self) -> None:
        """Runs until cancelled, or returns at once if there is no interval."""
        if self._interval is None:
            return
        while True:
            # Nobody can become due earlier than one interval after being added, so nobody has to wake this up.
            now = trio.current_time()
            next_due = now + self._interval
            while self._due:
                connection, due = next(iter(self._due.items()))
                if due > now:
                    next_due = due
                    break
                self._due.move_to_end(connection)
                self._due[connection] = now + self._interval
                connection.keep_alive()
            await trio.sleep_until(next_due)

    async def run_for(self, closed: trio.Event) -> None:
        """Runs until this happens: for the clock of one connection in a nursery that may live longer."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            await closed.wait()
            nursery.cancel_scope.cancel()
