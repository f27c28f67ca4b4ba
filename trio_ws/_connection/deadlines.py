"""Until when a connection waits for what: laws 3 and 4.

There is a single timer, the deadline of the scope in which the reader waits. It is whichever of these is next:

* ``_pong``: the peer has to give a sign of life. Stands still while our own reader waits for room (law 3).
* ``_stall``: a write has to go on (law 4).
* ``_close``: the closing handshake has to be over (law 4).
"""

from __future__ import annotations

import math

import trio

from .._options import ConnectionOptions
from .stand_in import StandIn
from .writer import Writer

__all__ = ["Deadlines"]

#: A deadline that is met so many seconds late was missed by our own event loop, not by the peer; and how many more the
#: peer then gets.
_LATE = 0.05
_GRACE = 1.0


class Deadlines:
    """Those of one connection, in seconds of Trio's clock; inf while there is nothing to wait for.

    Args:
        options: How long each of them is.
        writer: Whose writes have to go on.
        stand_in: The reader is woken there when it stands by without a scope, and there is a deadline now.
    """

    __slots__ = ("_close", "_options", "_pong", "_put_off", "_stall", "_stand_in", "_writer", "next", "scope")

    def __init__(self, options: ConnectionOptions, writer: Writer, stand_in: StandIn) -> None:
        self._options = options
        self._writer = writer
        self._stand_in = stand_in
        self._pong = self._stall = self._close = math.inf
        #: The earliest.
        self.next: float = math.inf
        #: Where the reader waits, if there is a deadline for that.
        self.scope: trio.CancelScope | None = None
        #: Whether a deadline that our own event loop missed has been put off.
        self._put_off = False

    def _set(self, *, pong: float, stall: float) -> None:
        self._pong, self._stall = pong, stall
        self.next = min(pong, stall, self._close)
        if self.scope is not None:
            self.scope.deadline = self.next
        else:
            self._stand_in.wake()

    # What happens on the connection

    @property
    def expecting_pong(self) -> bool:
        return self._pong != math.inf

    def expect_pong(self) -> None:
        """A ping has been sent: the peer has to answer in time."""
        if self._options.ping_timeout is not None:
            self._set(pong=trio.current_time() + self._options.ping_timeout, stall=self._stall)

    def expect_no_pong(self) -> None:
        """Our own reader does not read, so it could not see one."""
        self._set(pong=math.inf, stall=self._stall)

    def watch_writes(self) -> None:
        """A write that is waiting, if there is one, has to go on in time."""
        self._set(pong=self._pong, stall=self._stall_due() if self._stall == math.inf else self._stall)

    def sign_of_life(self) -> None:
        """The peer sent something, or took something that had to wait: it is there."""
        if self._pong != math.inf or self._stall != math.inf:
            self._put_off = self._put_off and self._stalled(trio.current_time())
            self._set(pong=math.inf, stall=self._stall)

    def write_went_on(self) -> None:
        self._put_off = False
        self.sign_of_life()

    def limit_the_rest(self) -> None:
        """The end has begun: from here on it is the close deadline that counts."""
        if self._options.close_timeout is not None:
            # The first that ends it counts; a write that fails later does not put it off.
            self._close = min(self._close, trio.current_time() + self._options.close_timeout)
        self._set(pong=math.inf, stall=math.inf)

    # When one has passed

    @property
    def close_passed(self) -> bool:
        return self._close <= trio.current_time()

    def missed(self, *, unread: bool) -> str | None:
        """What the peer has failed to do in time. None if nothing, or if it gets more time, because we were late.

        Args:
            unread: Nobody was reading just now.
        """
        now = trio.current_time()
        if self.next > now:  # its sign of life came in the same moment
            return None
        if (unread or now - self.next > _LATE) and not self._put_off:
            # Our own event loop has stood still, or nobody has read for a moment. What the peer did meanwhile has yet
            # to be seen: law 3.
            # But only once: else a peer that keeps us busy would live on that.
            self._put_off = True
            self._put_off_what_is_due(now, now + _GRACE, now + _GRACE)
        elif self._pong <= now and not self._writer.backed_up:
            return "gave no sign of life"
        elif self._stalled(now):
            return "took nothing of what we write"
        else:
            # A pong that is due while frames are held says nothing, and a write that went on has a new deadline.
            self._put_off = False
            self._put_off_what_is_due(now, math.inf, self._stall_due())
        return None

    def _put_off_what_is_due(self, now: float, pong: float, stall: float) -> None:
        self._set(pong=pong if self._pong <= now else self._pong, stall=stall if self._stall <= now else self._stall)

    def _stall_due(self) -> float:
        """When the write that is waiting, if there is one, has to go on."""
        since = self._writer.waiting_since
        interval, timeout = self._options.ping_interval, self._options.ping_timeout
        if since is None or interval is None or timeout is None:
            return math.inf
        return since + interval + timeout

    def _stalled(self, now: float) -> bool:
        return self._stall_due() <= now
