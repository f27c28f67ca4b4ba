"""How far the closing of one connection has come, and what everyone is told about it (RFC 6455 §7).

This only remembers. Who sends a close frame, closes the stream or gives up says so here (``session.py``).
"""

from __future__ import annotations

from typing import Literal

import trio

from .._errors import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from .._values import CloseReason
from .._wire.events import Close

__all__ = ["Closing"]


class Closing:
    """The end of one connection. Its reason is settled once (law 2)."""

    __slots__ = ("_by", "_half_reason", "_settled", "cause", "farewell", "over", "reason", "received", "sent")

    def __init__(self) -> None:
        #: The close frames of the closing handshake, as far as they were sent and received.
        self.sent: Close | None = None
        self.received: Close | None = None
        self._by: Literal["local", "remote"] | None = None
        #: What failed underneath.
        self.cause: BaseException | None = None
        #: What is to be said at the end if that costs no waiting.
        self.farewell: Close | None = None
        #: Whether the reader is to close the stream at its next turn.
        self.over: bool = False
        #: Why the connection closed; None while it has not.
        self.reason: CloseReason | None = None
        self._half_reason: CloseReason | None = None
        self._settled: trio.Event | None = None

    def say(self, close: Close) -> None:
        """We send this close frame."""
        self.sent = close
        self._by = self._by or "local"

    def hear(self, close: Close) -> None:
        """The peer sent this one."""
        self.received = close
        self._by = self._by or "remote"

    def unsay(self) -> None:
        """Our close frame never got out, so it is the peer's that counts, also one that is still to come."""
        self.sent = None
        self._by = None if self.received is None else "remote"

    def stream_failed(self, exc: BaseException) -> None:
        """The first failure is the cause, unless the connection is closed anyway."""
        if self.reason is None:
            self.cause = self.cause or exc

    def settle(self) -> CloseReason:
        """Nothing more will be said: this is the reason. Once only."""
        self.reason = self._reason_so_far()
        if self._settled is not None:
            self._settled.set()
        return self.reason

    def _reason_so_far(self) -> CloseReason:
        sent, received = self.sent, self.received
        return CloseReason(
            sent_code=sent.code if sent else None,
            sent_reason=sent.reason if sent else "",
            received_code=received.code if received else None,
            received_reason=received.reason if received else "",
            closed_by=self._by if sent or received else None,
        )

    async def wait_settled(self) -> CloseReason:
        if self.reason is None:
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()
        else:
            await trio.lowlevel.checkpoint()
        assert self.reason is not None
        return self.reason

    def error(self) -> ConnectionClosed:
        """What everyone gets who uses a connection that is closed or closing; its cause is what failed underneath."""
        if self.reason is None and self._half_reason is None:
            self._half_reason = self._reason_so_far()
        reason = self.reason or self._half_reason
        assert reason is not None
        error = (ConnectionClosedOK if reason.ok else ConnectionClosedError)(reason)
        error.__cause__ = self.cause
        return error

    def is_end(self, error: ConnectionClosed) -> bool:
        """Whether this is the end of this very connection, and not of another one that ended alike."""
        return error.reason is self.reason or error.reason is self._half_reason
