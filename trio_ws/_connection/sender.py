"""From messages to frames, as far as the writer takes them without ado.

Several tasks may send. Whoever is in the middle of a message in fragments is alone with data frames until its end
(RFC 6455 §5.4).
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._errors import ConnectionClosed, LocalProtocolError
from .._wire.events import Event, Piece
from .._wire.protocol import Protocol
from .closing import Closing
from .inbox import Inbox
from .stand_in import StandIn
from .transport import BROKEN
from .turn import TURN, Turn
from .writer import Forget, Writer

__all__ = ["Sender"]


class Sender:
    """The sending half of a session.

    Args:
        writer, protocol: Where frames go, and what makes them.
        inbox, turn: Replies to what came together are held together.
        closing, stand_in: What the session knows of itself.
        log: Called with each message, if frames are logged.
    """

    __slots__ = (
        "_closing",
        "_fragmenter",
        "_fragmenting",
        "_inbox",
        "_log",
        "_protocol",
        "_stand_in",
        "_turn",
        "_writer",
        "bytes_sent",
        "messages_sent",
    )

    def __init__(
        self,
        writer: Writer,
        protocol: Protocol,
        *,
        inbox: Inbox,
        turn: Turn,
        closing: Closing,
        stand_in: StandIn,
        log: Callable[[Event], None] | None,
    ) -> None:
        self._writer = writer
        self._protocol = protocol
        self._inbox = inbox
        self._turn = turn
        self._closing = closing
        self._stand_in = stand_in
        self._log = log
        self._fragmenting: trio.Event | None = None
        self._fragmenter: trio.lowlevel.Task | None = None
        self.messages_sent: int = 0
        self.bytes_sent: int = 0

    # As in the writer: KeyboardInterrupt waits until the frame is whole.
    @trio.lowlevel.enable_ki_protection
    async def send(self, data: str | bytes, *, compress: bool) -> None:
        """See :meth:`~trio_ws.WebSocketConnection.send`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._fragmenting is not None:
            await self._until_not_fragmenting()
        writer, turn = self._writer, self._turn
        # Of text, four bytes a character at most; and what zlib cannot compress it makes a little longer.
        if (writer.busy or writer.held) and not writer.ready(5 * len(data) + 64):
            self._stand_in.call_back()
            await self.send_frame(data, finished=True, compress=compress, forget=self._protocol.forget)
            self.messages_sent += 1
            return
        frame, behind = self._encode(data, True, compress)
        try:
            # Held while we handle what came together: then more will be sent in this turn.
            rest = writer.write(frame, behind, hold=turn.received > 0 and self._inbox.queued > 0)
            if rest is not None:
                self._stand_in.call_back()
                await writer.finish(*rest, self._protocol.forget)
        except BROKEN:
            raise self._closing.error() from self._closing.cause
        self.bytes_sent += len(frame) + len(behind)
        self.messages_sent += 1
        turn.sent += 1
        if turn.sent >= TURN:
            await turn.end()

    async def send_frame(
        self, data: str | bytes, *, finished: bool, compress: bool, forget: Forget | None = None
    ) -> None:
        """Send one frame: a message for which there was no room at once, or a fragment."""
        # How long the text will be in UTF-8 is known only when it is encoded, four bytes a character at most.
        size = len(data) if isinstance(data, bytes) or data.isascii() else 4 * len(data)
        try:
            self.bytes_sent += await self._writer.send(
                lambda: b"".join(self._encode(data, finished, compress)), self._protocol.frame_size(size), forget=forget
            )
        except ConnectionClosed:
            raise
        except BROKEN:
            raise self._closing.error() from self._closing.cause

    def _encode(self, data: str | bytes, finished: bool, compress: bool) -> tuple[bytes, bytes]:
        if not self._protocol.open:
            raise self._closing.error()
        if self._log is not None:
            self._log(data if finished else Piece(data, finished))
        return self._protocol.parts(data, finished=finished, compress=compress)

    async def begin_fragmented(self) -> None:
        """Wait until nobody else is in the middle of a message; then data frames are the caller's alone (§5.4)."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._until_not_fragmenting()
        self._fragmenting = trio.Event()
        self._fragmenter = trio.lowlevel.current_task()

    async def _until_not_fragmenting(self) -> None:
        while self._fragmenting is not None:
            if self._fragmenter is trio.lowlevel.current_task():
                raise LocalProtocolError("this task is in the middle of send_fragments() on the same connection")
            await self._fragmenting.wait()

    def end_fragmented(self) -> None:
        """The message is complete, or never will be."""
        if self._fragmenting is not None:
            self._fragmenting.set()
            self._fragmenting = self._fragmenter = None
