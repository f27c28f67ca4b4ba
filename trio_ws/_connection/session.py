"""The life of one connection: its task, its closing handshake, its pings.

One task, :meth:`Session.run`, reads (``reader.py``); what was received waits in the inbox (``inbox.py``); whoever has
something to send (``sender.py``) writes (``writer.py``). The task also owns the end: every way in which a connection
can close leads to :meth:`Session._conclude`, which settles the reason once and wakes everyone (``closing.py``), and to
the ``finally`` of :meth:`Session.run`, which closes the stream. It never waits for the peer without a deadline
(``deadlines.py``).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import trio

from .._errors import RemoteProtocolError
from .._options import ConnectionOptions
from .._values import CloseCode, CloseReason, Response, quote
from .._wire.deflate import deflate_agreed_in
from .._wire.extensions import EXTENSIONS
from .._wire.protocol import Close, Event, Failure, Piece, Ping, Pong, Protocol, Role
from .closing import Closing
from .deadlines import Deadlines
from .inbox import Inbox
from .keepalive import Keepalive
from .pings import Pings
from .reader import Reader
from .sender import Sender
from .stand_in import StandIn
from .transport import BROKEN, Transport, linger, make_transport
from .turn import Turn
from .writer import Writer

__all__ = ["Session"]

_LOGS: dict[Role, logging.Logger] = {
    "server": logging.getLogger("trio_ws.server"),
    "client": logging.getLogger("trio_ws.client"),
}


class Session:
    """Everything behind one :class:`~trio_ws.WebSocketConnection`.

    Args:
        stream: Where the opening handshake has just been completed.
        role: Which side of it we are.
        initial_data: Bytes from the peer that came right behind the handshake.
        clock: Says when to send a ping. Whoever brings it also runs it.
        response: The 101, in which stands what was agreed on.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_done",
        "_ended",
        "_nursery",
        "closing",
        "deadlines",
        "id",
        "inbox",
        "log",
        "log_frame",
        "options",
        "pings",
        "protocol",
        "reader",
        "role",
        "sender",
        "stand_in",
        "transport",
        "turn",
        "writer",
    )

    def __init__(
        self,
        stream: trio.abc.Stream,
        role: Role,
        options: ConnectionOptions,
        *,
        initial_data: bytes,
        clock: Keepalive,
        response: Response,
    ) -> None:
        self.id: str = os.urandom(4).hex()
        self.role = role
        self.options: ConnectionOptions = options
        self.log: logging.Logger = _LOGS[role]
        #: Logs a frame or message; None if they are not to be logged.
        self.log_frame: Callable[[Literal["<", ">"], Event], None] | None = None
        if self.log.isEnabledFor(logging.DEBUG):
            self.log_frame = partial(_log_frame, self.log, self.id)
        self.transport: Transport = make_transport(stream)
        self.protocol: Protocol = Protocol(
            role,
            max_size=options.max_size,
            max_fragments=options.fragments,
            deflate=deflate_agreed_in(
                response.headers.get_all(EXTENSIONS), role, options.compression, options.max_size
            ),
        )
        self.inbox: Inbox = Inbox(options.max_queue)
        self.pings: Pings = Pings()
        self.closing: Closing = Closing()
        self._clock = clock
        self._nursery: trio.Nursery | None = None
        self.writer: Writer = Writer(
            self.transport,
            write_limit=options.write_limit,
            spawn=self._spawn,
            on_broken=self._write_failed,
            on_progress=self._write_went_on,
        )
        self.stand_in: StandIn = StandIn(clock)
        self.deadlines: Deadlines = Deadlines(options, self.writer, self.stand_in)
        self.turn: Turn = Turn()
        self.reader: Reader = Reader(
            self.transport,
            self.protocol,
            self.inbox,
            pings=self.pings,
            closing=self.closing,
            deadlines=self.deadlines,
            stand_in=self.stand_in,
            turn=self.turn,
            read_limit=options.read_limit,
            initial_data=initial_data,
            take=self._take,
            on_end=self._conclude,
            on_broken=self.abort,
            log=self.log_frame and partial(self.log_frame, "<"),
        )
        self.sender: Sender = Sender(
            self.writer,
            self.protocol,
            inbox=self.inbox,
            turn=self.turn,
            closing=self.closing,
            stand_in=self.stand_in,
            log=self.log_frame and partial(self.log_frame, ">"),
        )
        # When the reason is settled, the stream is closed, and the task has ended.
        self._done: trio.Event | None = None
        self._ended = False

    # The connection's task

    def start(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._clock.add(self)
        if self.log_frame is not None:
            self.log.debug("%s opened", self.id)
        nursery.start_soon(self.run)

    def _spawn(self, task: Callable[[], Awaitable[object]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task)

    @trio.lowlevel.enable_ki_protection  # so that Ctrl-C finds it between two steps, and it can say 1001
    async def run(self) -> None:
        """Read until the connection is over, then close the stream. Raises nothing but a bug of ours (law 10)."""
        self.reader.begun = True
        try:
            await self._live()
        except trio.Cancelled:
            self.closing.farewell = self.closing.farewell or Close(CloseCode.GOING_AWAY)
            raise
        finally:
            await self._leave()

    async def _live(self) -> None:
        self.reader.stands_aside = self.stand_in.reading
        try:
            while not (self.closing.over or self._may_leave):
                if self.reader.stands_aside and self.deadlines.next == math.inf and self.closing.reason is None:
                    await self.reader.stand_aside()  # without a scope, which takes 0.6 kB
                else:
                    await self._live_until(self.deadlines.next)
        except BROKEN as exc:
            self.closing.stream_failed(exc)

    async def _live_until(self, deadline: float) -> None:
        stood_aside = self.reader.stands_aside
        with trio.CancelScope(deadline=deadline) as scope:
            self.deadlines.scope = scope
            if self.closing.reason is not None:
                await self._part()
                self.closing.over = True
            elif stood_aside:
                await self.reader.stand_aside()
            else:
                await self.reader.read()
        if scope.cancelled_caught:
            self._look_at_deadlines(unread=stood_aside and not self.stand_in.reading)
        self.deadlines.scope = None

    def _look_at_deadlines(self, *, unread: bool) -> None:
        """The reader was stopped: by a deadline, or by :meth:`abort`."""
        if self.closing.over:
            return
        if self.deadlines.close_passed:
            self.closing.over = True
        elif missed := self.deadlines.missed(unread=unread):
            self.closing.cause = TimeoutError(f"keepalive: the peer {missed} in time")
            self.closing.farewell = Close(CloseCode.INTERNAL_ERROR, "keepalive timeout")
            self.closing.over = True

    @property
    def _may_leave(self) -> bool:
        """Whether there is nobody left to wait for: the stream broke, or everything is said and we close it first."""
        if self.closing.reason is None:
            return False
        if self.closing.received is None:
            return self.closing.sent is None
        return self.role == "server" and self.transport.closes_at_once and not self.writer.busy

    async def _part(self) -> None:
        """End the stream in order: RFC 6455 §7.1.1 has the server close it first, and the client wait for that."""
        await self.writer.drained()
        if self.closing.received is None:
            await linger(self.transport.stream, self.options.read_limit)
        elif self.role == "server":
            await self.transport.stream.aclose()
        else:
            while await self.transport.receive_some(self.options.read_limit):
                pass

    async def _leave(self) -> None:
        """Close the stream without waiting, with a close frame in front where that costs no waiting (law 7)."""
        try:
            frame = b""
            if self.closing.farewell is not None and self.protocol.open:
                self.closing.say(self.closing.farewell)
                frame = self.protocol.close(self.closing.farewell)
            self.protocol.open = False
            if not await self.writer.last_words(frame):
                self.closing.unsay()
            self._conclude()
        finally:
            await self.transport.close()
            # What refers to each other does not have to wait for the garbage collector.
            self.reader.retire()
            self.writer.retire()
            self.protocol.stop()
            self._nursery = None
            self._ended = True
            if self._done is not None:
                self._done.set()

    # What the reader hears

    def _take(self, event: Ping | Pong | Close | Failure) -> None:
        """Act on a frame that is no message."""
        if isinstance(event, Ping):
            if self.protocol.open:
                self.writer.post_pong(self.protocol.pong(event.payload))
        elif isinstance(event, Pong):
            self.pings.take_pong(event.payload)
        elif isinstance(event, Close):
            self._take_close(event)
        else:
            self._fail(event)

    def _take_close(self, close: Close) -> None:
        self.closing.hear(close)
        if self.closing.sent is None and not self.writer.broken:
            # §5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it
            # received."
            self._send_close(Close(close.code))
        self._conclude()

    def _fail(self, failure: Failure) -> None:
        """_Fail the WebSocket Connection_ (RFC 6455 §7.1.7)."""
        self.closing.cause = RemoteProtocolError(failure.reason)
        if self.closing.sent is None and not self.writer.broken:
            reason = "".join(char for char in failure.reason if char.isprintable())
            self._send_close(Close(failure.code, reason.encode()[:123].decode(errors="ignore")))
        self._conclude()

    # Closing

    def say_goodbye(self, close: Close) -> None:
        """Begin the closing handshake, unless it has begun. Never waits; reading goes on until the peer answers."""
        if self.protocol.open:
            self._send_close(close)

    def _send_close(self, close: Close) -> None:
        self.closing.say(close)
        self.writer.post(self.protocol.close(close))
        self.deadlines.limit_the_rest()
        self.stand_in.call_back()
        if self.log_frame is not None:
            self.log_frame(">", close)

    async def aclose(self, close: Close) -> None:
        self.say_goodbye(close)
        self.inbox.discard()
        try:
            await self._wait_ended()
        except BaseException:  # Cancelled or KeyboardInterrupt: a resource is closed also when aclose() is cancelled
            self.abort()
            raise

    async def wait_closed(self) -> CloseReason:
        self.stand_in.call_back()
        return await self.closing.wait_settled()

    async def _wait_ended(self) -> None:
        if self._ended:
            await trio.lowlevel.checkpoint()
        else:
            if self._done is None:
                self._done = trio.Event()
            await self._done.wait()

    def leave_now(self, close: Close) -> None:
        """Close without waiting for anything, as a cancelled connection does."""
        self.closing.farewell = close
        self.inbox.discard()
        self.abort()

    def abort(self) -> None:
        """Have the connection's task close the stream at its next turn."""
        self.closing.over = True
        if self.deadlines.scope is not None:
            self.deadlines.scope.cancel()
        self.stand_in.wake()

    def _write_failed(self, exc: BaseException) -> None:
        """The stream may end in the middle of a frame: nothing may be written to it any longer (law 1)."""
        self.protocol.open = False
        self.closing.unsay()  # it would have been the last frame
        if isinstance(exc, Exception):
            # The peer may have said more, even goodbye, before it went: read that, but not for ever.
            self.closing.stream_failed(exc)
            self.deadlines.limit_the_rest()
            self.stand_in.call_back()
        else:
            # We cut it off ourselves, and the peer waits for the rest of the frame.
            self.closing.cause = trio.BrokenResourceError(
                "a send was cancelled when its frame could not be left out any more"
            )
            self._conclude()
            self.abort()

    def _conclude(self) -> None:
        """Settle the reason, once, and wake everyone who waits (law 2)."""
        if self.closing.reason is not None:
            return
        self.protocol.open = False
        reason = self.closing.settle()
        self._clock.remove(self)
        self.pings.close()
        self.inbox.close()
        self.sender.end_fragmented()
        self.log.info("%s closed: %s", self.id, reason)

    # Keepalive

    def keep_alive(self) -> None:
        """One visit of the clock: send a ping, and see to it that the peer has to answer."""
        if not self.protocol.open:
            return
        self.deadlines.watch_writes()
        # One ping at a time is enough to ask. None behind a write that waits: there they would pile up, and whether
        # that write goes on says more.
        if not self.deadlines.expecting_pong and not self.writer.backed_up:
            self.writer.post(self.protocol.ping(self.pings.add(awaited=False).payload))
            if not self.inbox.full:
                self.deadlines.expect_pong()

    def _write_went_on(self) -> None:
        self.deadlines.write_went_on()

    async def ping(self) -> float:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.writer.held > self.options.write_limit:
            await self.writer.drained()  # pings that nobody waits for any longer must not pile up either
        if not self.protocol.open:
            raise self.closing.error()
        self.stand_in.call_back()
        ping = self.pings.add(awaited=True)
        assert ping.over is not None
        try:
            self.writer.post(self.protocol.ping(ping.payload))
            await ping.over.wait()
        finally:
            self.pings.forget(ping)
        if ping.latency is None:
            raise self.closing.error()
        return ping.latency


def _log_frame(log: logging.Logger, connection: str, direction: Literal["<", ">"], event: Event) -> None:
    log.debug("%s %s %s", connection, direction, _describe(event))


def _describe(event: Event) -> str:
    """A frame or message in a log line."""
    if isinstance(event, (str, bytes)):
        return f"{'text' if isinstance(event, str) else 'binary'} {len(event)} {quote(event[:60])}"
    if isinstance(event, Piece):
        return f"{'last piece' if event.finished else 'piece'} of {_describe(event.data)}"
    return quote(event, 200)
