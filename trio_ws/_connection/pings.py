"""The pings that wait for their pongs (RFC 6455 §5.5.2 and §5.5.3)."""

from __future__ import annotations

import os

import attrs
import trio

__all__ = ["Ping", "Pings"]


@attrs.define(eq=False)
class Ping:
    """One ping that was sent."""

    payload: bytes
    sent_at: float
    #: Set when its pong came, or none will ever come; None if nobody waits for it.
    over: trio.Event | None
    #: Seconds until its pong came.
    latency: float | None = None

    def end(self) -> None:
        if self.over is not None:
            self.over.set()


class Pings:
    """Those of one connection, in the order in which they were sent."""

    __slots__ = (
        "_sent",
        "latency",
    )

    def __init__(self) -> None:
        self._sent: dict[bytes, Ping] = {}
        #: Of the last ping that was answered.
        self.latency: float | None = None

    def add(self, *, awaited: bool) -> Ping:
        """A new ping, to be sent now. Of those that nobody waits for, only the last is remembered."""
        if not awaited:
            self._sent = {payload: ping for payload, ping in self._sent.items() if ping.over is not None}
        ping = Ping(os.urandom(4), trio.current_time(), trio.Event() if awaited else None)
        self._sent[ping.payload] = ping
        return ping

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for a pong."""
        return any(ping.over is not None for ping in self._sent.values())

    def forget(self, ping: Ping) -> None:
        self._sent.pop(ping.payload, None)

    def take_pong(self, payload: bytes) -> None:
        """A pong came. One that answers no ping is no error: "A Pong frame MAY be sent unsolicited."."""
        now = trio.current_time()
        # A peer may answer only the last of several pings (§5.5.3), so a pong stands for all that were sent before.
        while payload in self._sent:
            ping = self._sent.pop(next(iter(self._sent)))
            ping.latency = self.latency = now - ping.sent_at
            ping.end()

    def close(self) -> None:
        """No pong will come any more."""
        for ping in self._sent.values():
            ping.end()
        self._sent.clear()
