"""The life of one connection: its reader task, its closing handshake, its deadlines.

One task, :meth:`Session.run`, reads; whoever has something to send writes (``writer.py``); what was received waits in
the inbox (``inbox.py``). The reader also owns the end: every way in which a connection can close leads to
:meth:`_conclude`, which settles the reason once and wakes everyone, and to the ``finally`` of :meth:`run`, which
closes the stream. The task never waits for the peer without a deadline, and there is a single timer: the deadline of
the reader's cancel scope is whichever of these is next.

* ``_pong_deadline``: the peer has to give a sign of life. Stands still while our own reader waits for room (law 3).
* ``_stall_deadline``: a write has to go on (law 4).
* ``_close_deadline``: the closing handshake has to be over (law 4).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Awaitable, Callable
from typing import Literal

import trio

from .._errors import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    LocalProtocolError,
    RemoteProtocolError,
)
from .._options import ConnectionOptions
from .._values import CloseCode, CloseReason, Response, quote
from .._wire.deflate import deflate_agreed_in
from .._wire.extensions import EXTENSIONS
from .._wire.protocol import Close, Event, Failure, Piece, Ping, Pong, Protocol, Role
from .inbox import Assembly, Inbox
from .keepalive import Keepalive
from .pings import Pings
from .stand_in import StandIn
from .transport import linger, make_transport
from .writer import Forget, Writer

__all__ = ["Session"]

#: A deadline that is met so many seconds late was missed by our own event loop, not by the peer; and how many more the
#: peer then gets.
_LATE = 0.05
_GRACE = 1.0

#: Messages that are received, or sent, without waiting before other tasks get a turn. A task that does nothing but echo
#: small ones takes a quarter of a millisecond for them. With a turn every 16, each would take a fifth longer.
_TURN = 64

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


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
        "_begun",
        "_cause",
        "_clock",
        "_close_deadline",
        "_closed",
        "_closed_by",
        "_debug",
        "_done",
        "_ended",
        "_farewell",
        "_fragmenter",
        "_fragmenting",
        "_given",
        "_half_reason",
        "_initial_data",
        "_nursery",
        "_over",
        "_pong_deadline",
        "_protocol",
        "_put_off",
        "_received",
        "_received_in_a_row",
        "_receivers",
        "_scope",
        "_sent",
        "_sent_in_a_row",
        "_stall_deadline",
        "_stand_in",
        "_stands_aside",
        "_transport",
        "bytes_received",
        "bytes_sent",
        "id",
        "inbox",
        "log",
        "messages_received",
        "messages_sent",
        "options",
        "pings",
        "reason",
        "role",
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
        self.log: logging.Logger = logging.getLogger(f"trio_ws.{role}")
        self._debug = self.log.isEnabledFor(logging.DEBUG)
        self._transport = make_transport(stream)
        self._protocol = Protocol(
            role,
            max_size=options.max_size,
            max_fragments=options.fragments,
            deflate=deflate_agreed_in(
                response.headers.get_all(EXTENSIONS), role, options.compression, options.max_size
            ),
        )
        self.inbox: Inbox = Inbox(options.max_queue)
        self._clock = clock
        self._initial_data = initial_data
        self._nursery: trio.Nursery | None = None
        self._scope: trio.CancelScope | None = None
        self.writer: Writer = Writer(
            self._transport,
            write_limit=options.write_limit,
            spawn=self._spawn,
            on_broken=self._write_failed,
            on_progress=self._write_went_on,
        )
        self._fragmenting: trio.Event | None = None
        self._fragmenter: trio.lowlevel.Task | None = None
        self._stand_in = StandIn(clock)
        #: Whether the reader has begun, or will have something to do; and whether it leaves its place to others.
        self._begun = initial_data != b"" or not self._transport.shared
        self._stands_aside = False
        #: Tasks that wait for the reader to hand them a message, and whether it has just done so.
        self._receivers = 0
        self._given = False
        #: Messages that have come, and gone, in the present turn of the scheduler, as far as we know.
        self._received_in_a_row = self._sent_in_a_row = 0
        self.pings: Pings = Pings()
        self._pong_deadline = self._stall_deadline = self._close_deadline = math.inf
        #: Whether a deadline that our own event loop missed has been put off.
        self._put_off = False
        # The closing handshake, as far as it has come.
        self._sent: Close | None = None
        self._received: Close | None = None
        self._closed_by: Literal["local", "remote"] | None = None
        self._cause: BaseException | None = None
        self._farewell: Close | None = None
        self._over = False
        self.reason: CloseReason | None = None
        self._half_reason: CloseReason | None = None
        # When the reason is settled; and when the stream is closed as well and the reader has ended.
        self._closed: trio.Event | None = None
        self._done: trio.Event | None = None
        self._ended = False
        self.messages_sent: int = 0
        self.messages_received: int = 0
        self.bytes_sent: int = 0
        self.bytes_received: int = 0

    # The reader

    def start(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._clock.add(self)
        self.log.debug("%s opened", self.id)
        nursery.start_soon(self.run)

    def _spawn(self, task: Callable[[], Awaitable[object]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task)

    @trio.lowlevel.enable_ki_protection  # so that Ctrl-C finds it between two steps, and it can say 1001
    async def run(self) -> None:
        """Read until the connection is over, then close the stream. Raises nothing but a bug of ours (law 10)."""
        self._begun = True
        try:
            await self._live()
        except trio.Cancelled:
            self._farewell = self._farewell or Close(CloseCode.GOING_AWAY)
            raise
        finally:
            await self._leave()

    async def _live(self) -> None:
        self._stands_aside = self._stand_in.reading
        try:
            while not self._over:
                deadline = self._next_deadline()
                if self._stands_aside and deadline == math.inf and self.reason is None:
                    await self._stand_aside()  # without a scope, which takes 0.6 kB
                else:
                    await self._live_until(deadline)
        except _BROKEN as exc:
            if self.reason is None:
                self._cause = self._cause or exc

    async def _live_until(self, deadline: float) -> None:
        stood_aside = self._stands_aside
        with trio.CancelScope(deadline=deadline) as self._scope:
            if stood_aside and self.reason is None:
                await self._stand_aside()
            else:
                await self._read()
            if self.reason is not None:
                await self._part()
                self._over = True
        if self._scope.cancelled_caught:
            self._look_at_deadlines(unread=stood_aside and not self._stand_in.reading)
        self._scope = None

    async def _stand_aside(self) -> None:
        try:
            await self._stand_in.stand_by()
        finally:
            self._stands_aside = self._stand_in.reading
            self._given = False

    async def _leave(self) -> None:
        """Close the stream without waiting, with a close frame in front where that costs no waiting (law 7)."""
        try:
            frame = b""
            if self._farewell is not None and self._open:
                self._sent, self._closed_by = self._farewell, "local"
                frame = self._protocol.close(self._farewell)
            if not await self.writer.last_words(frame):
                self._sent = None
            self._conclude()
        finally:
            await self._transport.close()
            # What refers to each other does not have to wait for the garbage collector.
            self.writer.retire()
            self._protocol.stop()
            self._nursery = None
            self._ended = True
            if self._done is not None:
                self._done.set()

    async def _read(self) -> None:
        """Read and act until a closing handshake is complete, the peer is at fault, or its stream ends.

        Or until another task reads in our place.
        """
        while self.reason is None:
            if self.inbox.full:
                self._pong_deadline = math.inf
                self._rearm()
                await self.inbox.wait_for_room()
            if self._protocol.pending:
                await trio.lowlevel.checkpoint()  # what has come inflates to more than one turn's work
                self._feed(b"")
            elif self._initial_data:
                data, self._initial_data = self._initial_data, b""
                self._feed(data)
                data = b""  # there may be long to wait; nothing of what has been read is kept here meanwhile
            elif self._stand_in.reading or self._handed_over():
                self._stands_aside = True
                return
            else:
                self._take_read(await self._receive_some())

    def _receive_some(self) -> Awaitable[bytes]:
        return self._transport.receive_some(self.options.read_limit, more=self._protocol.mid_frame)

    def _take_read(self, data: bytes) -> None:
        if data:
            self._sign_of_life()
            self._feed(data)
        else:
            self._conclude()

    def _handed_over(self) -> bool:
        """Whether a task has just been given what it waited for, so that it may read the next message itself."""
        given, self._given = self._given, False
        others_wait = self._receivers > 1 or self.inbox.in_pieces or self.pings.awaited
        return given and self._transport.shared and not others_wait and self._stand_in.trusted()

    def _take_readers_place(self) -> bool:
        """Whether the task that calls this is to read the next message itself."""
        if self._over or self.reason is not None or self._protocol.pending or self.inbox.full:
            return False  # there is more to do than to read
        if self._stand_in.wanted or not (self._begun or self._stand_in.reading):
            self._stand_in.come()
            return True
        return False

    # As in the reader: KeyboardInterrupt comes between two steps.
    @trio.lowlevel.enable_ki_protection
    async def _read_in_its_place(self) -> str | bytes | None:
        """What the reader does, done by a task that waits for a message; returns that if it has come."""
        try:
            data = await self._receive_some()
        except _BROKEN as exc:
            self._stand_in.go()
            if self.reason is None:
                self._cause = self._cause or exc
            self.abort()
            return None
        except BaseException:  # Cancelled or KeyboardInterrupt
            self._stand_in.go()
            self._stand_in.call_back()
            raise
        self._stand_in.go()
        others_wait = self._receivers > 0 or self.inbox.in_pieces
        if not others_wait:
            self.inbox.expect()
        self._take_read(data)
        if others_wait or self._protocol.pending or self.reason is not None:
            self._stand_in.call_back()  # it has something to do, or somebody waits for what it will read
        return self.inbox.expected()

    def _feed(self, data: bytes) -> None:
        self.bytes_received += len(data)
        for event in self._protocol.feed(data):
            if isinstance(event, (str, bytes)):
                self.messages_received += 1
                self._given = self._given or self._receivers > 0
                self.inbox.put(event)
            else:
                self._take(event)
            if self._debug:
                self.log.debug("%s < %s", self.id, _describe(event))
        if self._protocol.mid_frame and self.inbox.in_pieces:
            self._take_so_far()

    def _take_so_far(self) -> None:
        """Somebody wants the message that is coming in pieces."""
        for piece in self._protocol.so_far():
            self.inbox.put_piece(piece)

    def _take(self, event: Piece | Ping | Pong | Close | Failure) -> None:
        if isinstance(event, Piece):
            self.messages_received += event.finished
            self.inbox.put_piece(event)
        elif isinstance(event, Ping):
            if self._open:
                self.writer.post_pong(self._protocol.pong(event.payload))
        elif isinstance(event, Pong):
            self.pings.take_pong(event.payload)
        elif isinstance(event, Close):
            self._take_close(event)
        else:
            self._fail(event)

    async def _part(self) -> None:
        """End the stream in order: RFC 6455 §7.1.1 has the server close it first, and the client wait for that."""
        if self._received is None and self._sent is None:
            return
        await self.writer.drained()
        if self._received is None:
            await linger(self._transport.stream, self.options.read_limit)
        elif self.role == "server":
            await self._transport.stream.aclose()
        else:
            while await self._transport.receive_some(self.options.read_limit):
                pass

    # Closing

    def say_goodbye(self, close: Close) -> None:
        """Begin the closing handshake, unless it has begun. Never waits; reading goes on until the peer answers."""
        if self._sent is None and self._open:
            self._closed_by = self._closed_by or "local"
            self._send_close(close)

    @property
    def _open(self) -> bool:
        """Whether data and pings may be sent."""
        return self.reason is None and self._protocol.open and not self.writer.broken

    async def aclose(self, close: Close) -> None:
        self.say_goodbye(close)
        self.inbox.discard()
        try:
            await self._wait_ended()
        except BaseException:  # Cancelled or KeyboardInterrupt: a resource is closed also when aclose() is cancelled
            self.abort()
            raise

    async def wait_closed(self) -> CloseReason:
        self._stand_in.call_back()
        if self.reason is None:
            if self._closed is None:
                self._closed = trio.Event()
            await self._closed.wait()
        else:
            await trio.lowlevel.checkpoint()
        assert self.reason is not None
        return self.reason

    async def _wait_ended(self) -> None:
        if self._ended:
            await trio.lowlevel.checkpoint()
        else:
            if self._done is None:
                self._done = trio.Event()
            await self._done.wait()

    def leave_now(self, close: Close) -> None:
        """Close without waiting for anything, as a cancelled connection does."""
        self._farewell = close
        self.inbox.discard()
        self.abort()

    def abort(self) -> None:
        """Have the reader close the stream at its next turn."""
        self._over = True
        if self._scope is not None:
            self._scope.cancel()
        self._stand_in.wake()

    def _send_close(self, close: Close) -> None:
        self._sent = close
        self.writer.post(self._protocol.close(close))
        self._limit_the_rest()
        self._stand_in.call_back()
        if self._debug:
            self.log.debug("%s > %s", self.id, _describe(close))

    def _limit_the_rest(self) -> None:
        """The end has begun: from here on it is the close deadline that counts."""
        self._pong_deadline = self._stall_deadline = math.inf
        if self.options.close_timeout is not None:
            self._close_deadline = trio.current_time() + self.options.close_timeout
        self._rearm()

    def _take_close(self, close: Close) -> None:
        self._received = close
        self._closed_by = self._closed_by or "remote"
        if self._sent is None and not self.writer.broken:
            # §5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it
            # received."
            self._send_close(Close(close.code))
        self._conclude()

    def _fail(self, failure: Failure) -> None:
        """_Fail the WebSocket Connection_ (RFC 6455 §7.1.7)."""
        self._cause = RemoteProtocolError(failure.reason)
        if self._sent is None and not self.writer.broken:
            self._closed_by = "local"
            reason = "".join(char for char in failure.reason if char.isprintable())
            self._send_close(Close(failure.code, reason.encode()[:123].decode(errors="ignore")))
        self._conclude()

    def _write_failed(self, exc: BaseException) -> None:
        """The stream may end in the middle of a frame: nothing may be written to it any longer (law 1)."""
        self._sent = None  # the close frame would have been the last one, so it never got out
        if isinstance(exc, Exception):
            # The peer may have said more, even goodbye, before it went: read that, but not for ever.
            self._cause = self._cause or exc
            self._limit_the_rest()
            self._stand_in.call_back()
        else:
            # We cut it off ourselves, and the peer waits for the rest of the frame.
            self._cause = trio.BrokenResourceError("a send was cancelled when its frame could not be left out any more")
            self._conclude()
            self.abort()

    def _look_at_deadlines(self, *, unread: bool) -> None:
        """The reader was stopped by a deadline, or the peer's sign of life came in the same moment: find out which.

        Args:
            unread: Nobody was reading just now.
        """
        now = trio.current_time()
        if self._over or self._next_deadline() > now:
            pass
        elif self._close_deadline <= now:
            self._over = True
        elif (unread or now - self._next_deadline() > _LATE) and not self._put_off:
            # Our own event loop has stood still, or nobody has read for a moment. What the peer did meanwhile has yet
            # to be seen: law 3.
            # But only once: else a peer that keeps us busy would live on that.
            self._put_off = True
            self._put_off_what_is_due(now, now + _GRACE, now + _GRACE)
        elif self._pong_deadline <= now and not self.writer.backed_up:
            self._give_up("gave no sign of life")
        elif self._stalled(now):
            self._give_up("took nothing of what we write")
        else:
            # A pong that is due while frames are held says nothing, and a write that went on has a new deadline.
            self._put_off = False
            self._put_off_what_is_due(now, math.inf, self._stall_due())

    def _put_off_what_is_due(self, now: float, pong_deadline: float, stall_deadline: float) -> None:
        if self._pong_deadline <= now:
            self._pong_deadline = pong_deadline
        if self._stall_deadline <= now:
            self._stall_deadline = stall_deadline

    def _give_up(self, what: str) -> None:
        self._cause = TimeoutError(f"keepalive: the peer {what} in time")
        self._farewell = Close(CloseCode.INTERNAL_ERROR, "keepalive timeout")
        self._over = True

    def _conclude(self) -> None:
        """Settle the reason, once, and wake everyone who waits (law 2)."""
        if self.reason is not None:
            return
        self.reason = self._reason_so_far()
        self._clock.remove(self)
        self.pings.close()
        self.inbox.close()
        self._end_fragmented()
        if self._closed is not None:
            self._closed.set()
        self.log.info("%s closed: %s", self.id, self.reason)

    def _reason_so_far(self) -> CloseReason:
        sent, received = self._sent, self._received
        return CloseReason(
            sent_code=sent.code if sent else None,
            sent_reason=sent.reason if sent else "",
            received_code=received.code if received else None,
            received_reason=received.reason if received else "",
            closed_by=self._closed_by if sent or received else None,
        )

    def is_end(self, error: ConnectionClosed) -> bool:
        """Whether this is the end of this very connection, and not of another one that ended alike."""
        return error.reason is self.reason or error.reason is self._half_reason

    def error(self) -> ConnectionClosed:
        """What everyone gets who uses a connection that is closed or closing; its cause is what failed underneath."""
        if self.reason is None and self._half_reason is None:
            self._half_reason = self._reason_so_far()
        reason = self.reason or self._half_reason
        assert reason is not None
        error = (ConnectionClosedOK if reason.ok else ConnectionClosedError)(reason)
        error.__cause__ = self._cause
        return error

    # Keepalive

    def keep_alive(self) -> None:
        """One visit of the clock: send a ping, and see to it that the peer has to answer."""
        if not self._open:
            return
        timeout = self.options.ping_timeout
        if self._stall_deadline == math.inf:
            self._stall_deadline = self._stall_due()
        # One ping at a time is enough to ask. None behind a write that waits: there they would pile up, and whether
        # that write goes on says more.
        if self._pong_deadline == math.inf and not self.writer.backed_up:
            self.writer.post(self._protocol.ping(self.pings.add(awaited=False).payload))
            if timeout is not None and not self.inbox.full:
                self._pong_deadline = trio.current_time() + timeout
        self._rearm()

    def _sign_of_life(self) -> None:
        """The peer sent something, or took something that had to wait: it is there."""
        if self._pong_deadline != math.inf or self._stall_deadline != math.inf:
            self._pong_deadline = math.inf
            self._put_off = self._put_off and self._stalled(trio.current_time())
            self._rearm()

    def _write_went_on(self) -> None:
        self._put_off = False
        self._sign_of_life()

    def _stall_due(self) -> float:
        """When the write that is waiting, if there is one, has to go on."""
        since = self.writer.waiting_since
        interval, timeout = self.options.ping_interval, self.options.ping_timeout
        if since is None or interval is None or timeout is None:
            return math.inf
        return since + interval + timeout

    def _stalled(self, now: float) -> bool:
        return self._stall_due() <= now

    def _next_deadline(self) -> float:
        return min(self._pong_deadline, self._stall_deadline, self._close_deadline)

    def _rearm(self) -> None:
        if self._scope is not None:
            self._scope.deadline = self._next_deadline()
        else:
            self._stand_in.wake()  # which stands by without a scope

    async def ping(self) -> float:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.writer.held > self.options.write_limit:
            await self.writer.drained()  # pings that nobody waits for any longer must not pile up either
        if not self._open:
            raise self.error()
        self._stand_in.call_back()
        ping = self.pings.add(awaited=True)
        assert ping.over is not None
        try:
            self.writer.post(self._protocol.ping(ping.payload))
            await ping.over.wait()
        finally:
            self.pings.forget(ping)
        if ping.latency is None:
            raise self.error()
        return ping.latency

    # Messages

    async def receive(self) -> str | bytes:
        inbox = self.inbox
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
                self._received_in_a_row = self._sent_in_a_row = 0
                own = await self._read_in_its_place()
                if own is not None:
                    message = own
                    break
        except trio.EndOfChannel:
            raise self.error() from self._cause
        self._received_in_a_row += 1
        if self._received_in_a_row > _TURN:
            await self._let_others_run()  # the message is out of the queue: not to be lost
            self._received_in_a_row = 1
        return message

    async def claim(self) -> tuple[Assembly, trio.MemoryReceiveChannel[str | bytes]]:
        """Wait for a message to begin; raises trio.EndOfChannel if none will."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._stand_in.call_back()
        self._take_so_far()
        return await self.inbox.claim()

    async def _wait_for_message(self) -> str | bytes:
        if self.inbox.ended:  # a channel need not be made to say so
            await trio.lowlevel.checkpoint()
            raise trio.EndOfChannel
        self._receivers += 1
        try:
            # Not inbox.receive(): another coroutine for each message, 0.1 us.
            message = await self.inbox.source.receive()
        finally:
            self._receivers -= 1
        self.inbox.taken()
        self._received_in_a_row, self._sent_in_a_row = 1, 0
        return message

    async def _let_others_run(self) -> None:
        self._received_in_a_row = self._sent_in_a_row = 0
        await trio.lowlevel.cancel_shielded_checkpoint()

    # As in the writer: KeyboardInterrupt waits until the frame is whole.
    @trio.lowlevel.enable_ki_protection
    async def send(self, data: str | bytes, *, compress: bool) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._fragmenting is not None:
            await self._until_not_fragmenting()
        writer = self.writer
        # Of text, four bytes a character at most; and what zlib cannot compress it makes a little longer.
        if (writer.busy or writer.held) and not writer.ready(5 * len(data) + 64):
            self._stand_in.call_back()
            await self.send_frame(data, finished=True, compress=compress, forget=self._protocol.forget)
            self.messages_sent += 1
            return
        frame, behind = self._encode(data, True, compress)
        try:
            # Held while we handle what came together: then more will be sent in this turn.
            rest = writer.write(frame, behind, hold=self._received_in_a_row > 0 and self.inbox.queued > 0)
            if rest is not None:
                self._stand_in.call_back()
                await writer.finish(*rest, self._protocol.forget)
        except _BROKEN:
            raise self.error() from self._cause
        self.bytes_sent += len(frame) + len(behind)
        self.messages_sent += 1
        self._sent_in_a_row += 1
        if self._sent_in_a_row >= _TURN:
            await self._let_others_run()

    async def send_frame(
        self, data: str | bytes, *, finished: bool, compress: bool, forget: Forget | None = None
    ) -> None:
        # How long the text will be in UTF-8 is known only when it is encoded, four bytes a character at most.
        size = len(data) if isinstance(data, bytes) or data.isascii() else 4 * len(data)
        try:
            self.bytes_sent += await self.writer.send(
                lambda: b"".join(self._encode(data, finished, compress)), self._protocol.frame_size(size), forget=forget
            )
        except ConnectionClosed:
            raise
        except _BROKEN:
            raise self.error() from self._cause

    def _encode(self, data: str | bytes, finished: bool, compress: bool) -> tuple[bytes, bytes]:
        if not self._open:
            raise self.error()
        if self._debug:
            self.log.debug("%s > %s", self.id, _describe(data if finished else Piece(data, finished)))
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

    def end_fragmented(self, *, sent: bool, complete: bool) -> None:
        """The message is complete; or, once a part was sent, it never will be, and then no other may follow it."""
        if sent and complete:
            self.messages_sent += 1
        elif sent:
            self.say_goodbye(Close(CloseCode.INTERNAL_ERROR, "message cut short"))
        self._end_fragmented()

    def _end_fragmented(self) -> None:
        if self._fragmenting is not None:
            self._fragmenting.set()
            self._fragmenting = self._fragmenter = None


def _describe(event: Event) -> str:
    """A frame or message in a log line."""
    if isinstance(event, (str, bytes)):
        return f"{'text' if isinstance(event, str) else 'binary'} {len(event)} {quote(event[:60])}"
    if isinstance(event, Piece):
        return f"{'last piece' if event.finished else 'piece'} of {_describe(event.data)}"
    return quote(event, 200)
