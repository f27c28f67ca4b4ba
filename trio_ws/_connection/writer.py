"""The write side of one connection: whole frames, one after the other, from whichever task has one.

There is no writer task. A sender that finds nobody writing writes from its own task, without waiting if the stream
takes all of it (:meth:`Writer.write`). One that finds somebody writing leaves its frame behind if ``write_limit`` has
room for it, and waits in line otherwise (:meth:`Writer.send`). Control frames never wait: pings, pongs and the close
frame are posted, and go out at once or right behind the frame that is being written.

Frames may also be held although nobody is writing: those that are sent while more of what was received waits to be
handled. They go out together, with the first one of which that is not so, or at the next turn of the scheduler. Sixteen
of 64 bytes in one write take 8 us, in sixteen writes 70.

The invariant (law 1): once a write has begun, either all of it reaches the stream or ``broken`` is set in the same
turn of the scheduler and not a byte follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import trio

from .transport import BROKEN, Transport, a_few_turns

__all__ = ["Forget", "Writer"]

#: Of larger frames, header and payload are given to the stream one by one. To join them costs less below this.
_SMALL = 2**14

#: On a stream that cannot tell, a write that took longer than this many seconds waited for the peer to take bytes.
_WAITED = 0.05


class Forget(Protocol):
    """Asked whether this frame, of which nothing was written, may be left out, with those that were made since."""

    def __call__(self, frame: bytes, behind: Iterable[bytes]) -> bool: ...


def _nobody(_: object) -> None:
    """Who is told of what happens to a writer that has retired."""


def _nothing() -> None:
    """The same, for what has no argument."""


class Writer:
    """Serialises the frames of one connection.

    Args:
        transport: Where they go.
        write_limit: Bytes of frames that may be left behind for the task that is writing.
        spawn: Starts a task in the connection's nursery; used where a posted frame cannot be written at once.
        on_broken: Called once, synchronously, when a write failed or was cancelled: the stream may end in half a frame.
        on_progress: Called when a write that had to wait went on: the peer is reading.
    """

    __slots__ = (
        "_held",
        "_in_line",
        "_line",
        "_on_broken",
        "_on_progress",
        "_pong",
        "_small",
        "_spawn",
        "_transport",
        "_under_way",
        "_write_limit",
        "broken",
        "busy",
        "held",
        "waiting_since",
    )

    def __init__(
        self,
        transport: Transport,
        *,
        write_limit: int,
        spawn: Callable[[Callable[[], Awaitable[object]]], None],
        on_broken: Callable[[BaseException], None],
        on_progress: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._write_limit = write_limit
        #: Frames below this are held together.
        self._small = min(_SMALL, write_limit + 1)
        self._spawn = spawn
        self._on_broken = on_broken
        self._on_progress = on_progress
        #: Whether somebody is writing, or has been given the right to. Not a lock, because that right is passed from
        #: task to task; those who wait for it stand in line, first come, first served. The line is made when needed.
        self.busy: bool = False
        self._line: trio.lowlevel.ParkingLot | None = None
        # Tasks that wait for their turn, or have been given it and have not run yet. As long as there are any, nobody
        # may leave a frame behind: it would be made before theirs and written after. Frames are made in the order in
        # which they are written, because a fragment, and compression, depend on what was sent before.
        self._in_line = 0
        self._held: list[bytes] = []
        self._pong: bytes = b""
        #: Bytes that wait to be written, the pong included; and those of them that are being written.
        self.held: int = 0
        self._under_way = 0
        #: When the write that is under way began, or last went on; None if there is none.
        self.waiting_since: float | None = None
        self.broken: bool = False

    @property
    def backed_up(self) -> bool:
        """Whether frames wait for a write that does not go on."""
        return self.busy and self.held > 0

    def ready(self, size: int) -> bool:
        """Whether a frame of so many bytes at most may be made now, and given to :meth:`write`."""
        if self.held + size > self._write_limit:
            self.flush()
        return not self.busy

    def write(self, frame: bytes, behind: bytes, *, hold: bool) -> tuple[bytes, int] | None:
        """Write a data frame, as far as that needs no waiting; :meth:`ready` has just been asked.

        Args:
            frame, behind: The frame, in two parts.
            hold: More frames will follow in this turn: write them together.

        Returns:
            None if that is all. Else what is to be passed on to :meth:`finish`, at once: nobody else may write.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: The stream is broken or closed.
        """
        size = len(frame) + len(behind)
        if self.held or (hold and size < self._small):
            if not self.held:
                self._spawn(self._flush_soon)
            self._hold(frame + behind)
            if not hold:
                self.flush()
            return None
        if size < _SMALL:
            frame, behind = frame + behind, b""
        try:
            sent = self._transport.send_nowait(frame, behind)
        except BROKEN as exc:
            self._break(exc)
            raise
        if sent == size:
            return None
        self.busy = True
        if sent <= len(frame):  # a header that is out alone is a torn frame, and not "nothing written"
            return frame + behind, sent
        return behind, sent - len(frame)

    @trio.lowlevel.enable_ki_protection
    async def finish(self, data: bytes, sent: int, forget: Forget) -> None:
        """Write the rest of a frame that :meth:`write` has begun; see :meth:`send`."""
        try:
            await self._write(data, forget, sent)
        finally:
            self._pass_on()

    @trio.lowlevel.enable_ki_protection
    def flush(self) -> None:
        """Write what is held, unless somebody is writing."""
        if self.held and not self.busy and not self.broken:
            self.busy = True
            rest = self._write_nowait(self._take_held())
            if rest:
                self._hold(rest)
            self._pass_on()

    async def _flush_soon(self) -> None:
        self.flush()

    # KeyboardInterrupt waits until the frame is whole: in the middle of one it would end the connection without a word.
    @trio.lowlevel.enable_ki_protection
    async def send(self, encode: Callable[[], bytes], size: int, *, forget: Forget | None) -> int:
        """Write one data frame.

        Args:
            encode: Makes the frame, at the moment when its place on the wire is certain. What it raises comes
                out, and nothing was written.
            size: How long the frame will be at most, in bytes.
            forget: See :class:`Forget`. None for a fragment, which the next frame continues.

        Returns:
            How long the frame was.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: The stream is broken or closed.

        Cancellation: while nothing has been written, has no effect; later the stream is broken.
        """
        self.flush()
        if not self.busy:
            self.busy = True
        elif self._under_way + self.held + size <= self._write_limit and not self._in_line:
            await trio.lowlevel.checkpoint_if_cancelled()
            frame = encode()
            self._hold(frame)
            return len(frame)
        else:
            self._in_line += 1
            try:
                await self._wait_in_line()
            finally:
                self._in_line -= 1
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            frame = encode()
            await self._write(frame, forget)
            return len(frame)
        finally:
            self._pass_on()

    @trio.lowlevel.enable_ki_protection
    def post(self, frame: bytes) -> None:
        """Write a control frame now if that needs no waiting, else as soon as the stream is free. Never waits."""
        if self.broken:
            return
        if self._pong:
            self._held.append(self._pong)  # in front of this frame, which may be the close frame
            self._pong = b""
        self._hold(frame)
        self.flush()

    def post_pong(self, frame: bytes) -> None:
        """Like :meth:`post`; of several pongs that wait only the last is sent, as RFC 6455 §5.5.3 allows."""
        if self.broken or not self.busy:
            self.post(frame)
        else:
            self.held += len(frame) - len(self._pong)
            self._pong = frame

    async def drained(self) -> None:
        """Wait until everything posted before is written, or the stream is broken."""
        if self.busy:
            await self._wait_in_line()
            self._pass_on()

    async def last_words(self, frame: bytes) -> bool:
        """Write what is held, and this frame, without waiting or not at all; nothing is written ever after.

        Returns:
            False if they would have stood in the middle of another frame.
        """
        if self.waiting_since is not None and self._transport.tears:
            async with a_few_turns():
                await self.drained()
        if self.waiting_since is not None or self.broken:
            self.broken = True
            return False
        self.broken = True
        data = self._take_held() + frame
        if data:
            await self._transport.send_last(data)
        return True

    def retire(self) -> None:
        """Nothing will be written any more: let go of the connection, which also refers to this."""
        self.broken = True
        self._spawn = self._on_broken = _nobody
        self._on_progress = _nothing

    def _take_held(self) -> bytes:
        data = b"".join(self._held) + self._pong
        self._held.clear()
        self._pong = b""
        self.held = 0
        return data

    def _hold(self, frame: bytes) -> None:
        self._held.append(frame)
        self.held += len(frame)

    def _break(self, exc: BaseException) -> None:
        self.broken = True
        self._take_held()
        self._on_broken(exc)

    def _write_nowait(self, frame: bytes) -> bytes:
        try:
            return frame[self._transport.send_nowait(frame) :]
        except BROKEN as exc:
            self._break(exc)
            return b""

    async def _write(self, data: bytes, forget: Forget | None = None, sent: int = 0) -> None:
        if self.broken:
            raise trio.BrokenResourceError("an earlier write failed")
        view = memoryview(data)
        try:
            began = trio.current_time()
            while sent < len(data):
                self.waiting_since = trio.current_time()
                count, waited = await self._transport.send_some(view[sent:])
                sent += count
                if waited is None:
                    # This stream cannot tell; but a frame that takes so long has to wait, and goes on all the same.
                    now = trio.current_time()
                    waited = now - began > _WAITED
                    began = now if waited else began
                if waited:
                    self._on_progress()
        except BaseException as exc:
            # What follows a frame that may have gone out in part would be taken for the rest of it.
            nothing_written = isinstance(exc, trio.Cancelled) and not sent and not self._transport.tears
            if not (nothing_written and forget is not None and forget(data, self._held)):
                self._break(exc)
            raise
        finally:
            self.waiting_since = None

    def _pass_on(self) -> None:
        """Give the right to write to whoever is next: the frames left behind, or the first task in line."""
        if self.held and not self.broken:
            self._spawn(self._write_held)
        else:
            self._release()

    async def _wait_in_line(self) -> None:
        if self._line is None:
            self._line = trio.lowlevel.ParkingLot()
        await self._line.park()

    def _release(self) -> None:
        if self._line:
            self._line.unpark()  # who comes next is busy from now on
        else:
            self.busy = False

    @trio.lowlevel.enable_ki_protection
    async def _write_held(self) -> None:
        # Shielded, so that a connection that is cancelled does not tear the close frame it has just posted. Whoever
        # cancels a connection closes its stream, and that ends this too.
        with trio.CancelScope(shield=True):
            try:
                while self.held and not self.broken:
                    data = self._take_held()
                    self._under_way = len(data)
                    await self._write(data)
            except BROKEN:
                pass  # recorded in _break(), and told to everyone by the connection: law 10
            finally:
                self._under_way = 0
                self._release()
