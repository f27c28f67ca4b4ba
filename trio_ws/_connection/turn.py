"""How long a task may go on with one connection without waiting, before it gives others a turn."""

from __future__ import annotations

import trio

__all__ = ["TURN", "Turn"]

#: Messages that are received, or sent, without waiting before other tasks get a turn. A task that does nothing but echo
#: small ones takes a quarter of a millisecond for them. With a turn every 16, each would take a fifth longer.
TURN = 64


class Turn:
    """Messages of one connection that have come, and gone, in the present turn of the scheduler, as far as we know."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received: int = 0
        self.sent: int = 0

    async def end(self) -> None:
        """Let others run. A cancellation is left to the next wait, so that nothing that was received is lost."""
        self.received = self.sent = 0
        await trio.lowlevel.cancel_shielded_checkpoint()
