"""From bytes to messages: who reads them, and whom what they say is for.

The connection's own task reads (:meth:`Reader.read`), unless a task that waits for the next message does so in its
place (``stand_in.py``, :meth:`Reader.receive`). Messages go into the inbox (``inbox.py``), everything else to the
session.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from .._wire.events import Close, Event, Failure, Piece, Ping, Pong
from .._wire.protocol import Protocol
from .closing import Closing
from .deadlines import Deadlines
from .inbox import Assembly, Inbox
from .pings import Pings
from .stand_in import StandIn
from .transport import BROKEN, Transport
from .turn import TURN, Turn

__all__ = ["Reader"]


def _nobody(*_: object) -> None:
    """Who is told what a reader hears that has retired."""


class Reader:
    """The receiving half of a session.

    Args:
        transport, protocol, inbox: Where bytes come from, what makes events of them, where messages go.
        pings, closing, deadlines, stand_in, turn: What the session knows of itself.
        read_limit: Bytes that are read at once.
        initial_data: Bytes from the peer that came right behind the handshake.
        take: Acts on a frame that is no message.
        on_end: Called when the stream has ended.
        on_broken: Called when it failed under a task that read in our place; in our own task, that raises.
        log: Called with each event, if frames are logged.
    """

    __slots__ = (
        "_closing",
        "_deadlines",
        "_given",
        "_inbox",
        "_initial_data",
        "_log",
        "_on_broken",
        "_on_end",
        "_pings",
        "_protocol",
        "_read_limit",
        "_receivers",
        "_stand_in",
        "_take_frame",
        "_transport",
        "_turn",
        "begun",
        "bytes_received",
        "messages_received",
        "stands_aside",
    )

    def __init__(
        self,
        transport: Transport,
        protocol: Protocol,
        inbox: Inbox,
        *,
        pings: Pings,
        closing: Closing,
        deadlines: Deadlines,
        stand_in: StandIn,
        turn: Turn,
        read_limit: int,
        initial_data: bytes,
        take: Callable[[Ping | Pong | Close | Failure], None],
        on_end: Callable[[], None],
        on_broken: Callable[[], None],
        log: Callable[[Event], None] | None,
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._inbox = inbox
        self._pings = pings
        self._closing = closing
        self._deadlines = deadlines
        self._stand_in = stand_in
        self._turn = turn
        self._read_limit = read_limit
        self._initial_data = initial_data
        self._take_frame = take
        self._on_end = on_end
        self._on_broken = on_broken
        self._log = log
        #: Whether the reader has begun, or will have something to do; and whether it leaves its place to others.
        self.begun: bool = initial_data != b"" or not transport.shared
        self.stands_aside: bool = False
        #: Tasks that wait for the reader to hand them a message, and whether it has just done so.
        self._receivers = 0
        self._given = False
        self.messages_received: int = 0
        self.bytes_received: int = 0

    def retire(self) -> None:
        """Nothing will be read any more: let go of the session, which also refers to this."""
        self._take_frame = self._on_end = self._on_broken = _nobody

    # The reader's own task

    async def read(self) -> None:
        """Read and act until a closing handshake is complete, the peer is at fault, or its stream ends.

        Or until another task reads in our place.
        """
        while self._closing.reason is None:
            if self._inbox.full:
                self._deadlines.expect_no_pong()
                await self._inbox.wait_for_room()
            if self._protocol.pending:
                await trio.lowlevel.checkpoint()  # what has come inflates to more than one turn's work
                self._feed(b"")
            elif self._initial_data:
                data, self._initial_data = self._initial_data, b""
                self._feed(data)
                data = b""  # there may be long to wait; nothing of what has been read is kept here meanwhile
            elif self._stand_in.reading or self._handed_over():
                self.stands_aside = True
                return
            else:
                self._take(await self._receive_some())

    async def stand_aside(self) -> None:
        """Wait until there is something else to do than to read, or nobody reads."""
        try:
            await self._stand_in.stand_by()
        finally:
            self.stands_aside = self._stand_in.reading
            self._given = False

    def _handed_over(self) -> bool:
        """Whether a task has just been given what it waited for, so that it may read the next message itself."""
        given, self._given = self._given, False
        others_wait = self._receivers > 1 or self._inbox.in_pieces or self._pings.awaited
        return given and self._transport.shared and not others_wait and self._stand_in.trusted()

    # Whoever reads

    def _receive_some(self) -> Awaitable[bytes]:
        return self._transport.receive_some(self._read_limit, more=self._protocol.mid_frame)

    def _take(self, data: bytes) -> None:
        if data:
            if self._deadlines.next != math.inf:
                self._deadlines.sign_of_life()
            self._feed(data)
        else:
            self._on_end()

    def _feed(self, data: bytes) -> None:
        if self._closing.reason is not None:
            return  # the connection was given up while we waited for this: nobody is to receive it any more
        self.bytes_received += len(data)
        for event in self._protocol.feed(data):
            if isinstance(event, (str, bytes)):
                self.messages_received += 1
                self._given = self._given or self._receivers > 0
                self._inbox.put(event)
            else:
                self._take_event(event)
            if self._log is not None:
                self._log(event)
        if self._protocol.mid_frame and self._inbox.in_pieces:
            self._take_so_far()

    def _take_event(self, event: Piece | Ping | Pong | Close | Failure) -> None:
        if isinstance(event, Piece):
            self.messages_received += event.finished
            self._inbox.put_piece(event)
        else:
            self._take_frame(event)

    def _take_so_far(self) -> None:
        """Somebody wants the message that is coming in pieces."""
        for piece in self._protocol.so_far():
            self._inbox.put_piece(piece)

    # Whoever receives

    async def receive(self) -> str | bytes:
        """See :meth:`~trio_ws.WebSocketConnection.receive`."""
        inbox = self._inbox
        try:
            while True:
                if inbox.queued:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    try:
                        message = inbox.receive_nowait()
                    except trio.WouldBlock:
                        pass  # what was handed to other tasks, which have not run yet, is counted too
                    else:
                        break
                if not self._take_readers_place():
                    return await self._wait_for_message()
                self._turn.received = self._turn.sent = 0
                own = await self._read_in_its_place()
                if own is not None:
                    message = own
                    break
                if inbox.ended:
                    raise trio.EndOfChannel
        except trio.EndOfChannel:
            raise self._closing.error() from self._closing.cause
        turn = self._turn
        turn.received += 1
        if turn.received > TURN:
            await turn.end()
            turn.received = 1
        return message

    async def _wait_for_message(self) -> str | bytes:
        if self._inbox.ended:  # a channel need not be made to say so
            await trio.lowlevel.checkpoint()
            raise trio.EndOfChannel
        self._receivers += 1
        try:
            # Not inbox.receive(): another coroutine for each message, 0.1 us.
            message = await self._inbox.source.receive()
        finally:
            self._receivers -= 1
        self._inbox.taken()
        self._turn.received, self._turn.sent = 1, 0
        return message

    def _take_readers_place(self) -> bool:
        """Whether the task that calls this is to read the next message itself."""
        closing = self._closing
        if closing.over or closing.reason is not None or self._protocol.pending or self._inbox.full:
            return False  # there is more to do than to read
        if self._stand_in.wanted or not (self.begun or self._stand_in.reading):
            self._stand_in.come()
            return True
        return False

    # As in the reader: KeyboardInterrupt comes between two steps.
    @trio.lowlevel.enable_ki_protection
    async def _read_in_its_place(self) -> str | bytes | None:
        """What the reader does, done by a task that waits for a message; returns that if it has come."""
        try:
            data = await self._receive_some()
        except BROKEN as exc:
            self._stand_in.give_back()
            self._closing.stream_failed(exc)
            self._on_broken()
            return None
        except BaseException:  # Cancelled or KeyboardInterrupt
            self._stand_in.give_back()
            raise
        others_wait = self._receivers > 0 or self._inbox.in_pieces
        if not others_wait:
            self._inbox.expect()
        self._take(data)
        if others_wait or self._protocol.pending or self._closing.reason is not None:
            self._stand_in.give_back()  # the reader has something to do, or somebody waits for what it will read
        else:
            self._stand_in.go()
        return self._inbox.expected()

    async def claim(self) -> tuple[Assembly, trio.MemoryReceiveChannel[str | bytes]]:
        """Wait for a message to begin, to receive it in pieces.

        Raises:
            ConnectionClosed: The connection is closed, and none will.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._stand_in.call_back()
        self._take_so_far()
        try:
            return await self._inbox.claim()
        except trio.EndOfChannel:
            raise self._closing.error() from self._closing.cause
