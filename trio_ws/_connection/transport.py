"""The stream under a connection: what the connection needs of it, and how it is ended.

Any :class:`trio.abc.Stream` will do. A TCP or Unix socket can do more: take bytes without waiting, which lets a
cancelled connection say goodbye and a pong go out without a task of its own; and say how many bytes it has taken, which
tells a slow peer from a dead one and a frame that was cancelled from one that was torn.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

__all__ = ["BROKEN", "Transport", "a_few_turns", "linger", "make_transport"]

#: What a stream raises that is of no use any longer.
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)

#: Turns of the scheduler that a stream which cannot tell whether it would wait may take for the last frame of a
#: cancelled connection. TLS over a socket with room takes three. Turns and not seconds, because when a thousand
#: connections are cancelled together, each turn takes a thousand times as long.
_FEW = 10

#: Bytes that are given to a stream at once if it cannot tell how many of them it has written: one TLS record.
_STEP = 2**14

#: Reads that may follow a full one at once, if a large message is under way, before others get a turn. Of 1 MiB, that
#: saves 12 of 17 turns of the scheduler.
_AT_ONCE = 3

#: The part by which a read may exceed its limit: 16 bytes of 64 KiB, so that a message of so many bytes comes in one
#: read, with its header, and need not be put together. Taking it apart takes 1.5 us then, otherwise 9.
_HEADER_OF = 4096

#: Seconds that a peer gets to read why it is refused, before the stream is closed under it.
_LINGER = 2


class Transport:
    """Any Trio stream."""

    __slots__ = ("stream",)

    #: Whether a call of :meth:`send_some` that is cancelled may have written something.
    tears = True
    #: Whether it is worth while that tasks take turns in reading: where a turn of the scheduler is most of what a read
    #: costs. Not on streams in memory, where tests may stop the clock that looks after this.
    shared = False
    #: Whether to close it needs no waiting, also if that is done in order.
    closes_at_once = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream: trio.abc.Stream = stream

    async def receive_some(self, limit: int, *, more: bool = False) -> bytes:
        """Wait for some bytes; none are the end.

        Args:
            limit: How many to read at most.
            more: Whether they are the rest of what was read last, so that they have probably come already.
        """
        return bytes(await self.stream.receive_some(limit))

    def receive_nowait(self, limit: int) -> bytes | None:
        """Read what has come already; none are the end, and None is nothing yet, or that nobody can say."""
        return None

    async def send_some(self, data: memoryview) -> tuple[int, bool | None]:
        """Wait until some of this is written.

        Returns:
            How many bytes that was, and whether it had to wait for the peer to take any; None if nobody can say.
        """
        step = data[:_STEP]
        await self.stream.send_all(step)
        return len(step), None

    def send_nowait(self, data: bytes | memoryview, behind: bytes = b"") -> int:
        """Write what can be written without waiting; return how many bytes that was. It may be 0, always.

        Args:
            behind: More to write, behind the other; together they are written without being copied.
        """
        return 0

    async def send_last(self, data: bytes) -> None:
        """Write the last frame of a connection that is being cancelled: without waiting, or not at all."""
        async with a_few_turns():
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(data)

    async def close(self) -> None:
        """Close at once, without regard for what the peer has not read yet. Never waits, never raises."""
        with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            await trio.aclose_forcefully(self.stream)


class SocketTransport(Transport):
    """A stream that is a plain socket.

    Reads and writes go past Trio's own calls, straight to the file descriptor: that leaves out a checkpoint, scopes and
    coroutines for each. What they do besides is done here: a closed socket is told from one that has been opened since
    under the same number, and errors are Trio's.
    """

    __slots__ = ("_at_once", "_fileno")

    stream: trio.SocketStream
    tears = False
    shared = True
    closes_at_once = True

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        # Asked before every call: -1 is a socket that has been closed, and no call may go to who has its number now.
        self._fileno = stream.socket.fileno
        #: Reads that may follow the last one at once.
        self._at_once = 0

    async def receive_some(self, limit: int, *, more: bool = False) -> bytes:
        limit += limit // _HEADER_OF
        at_once = self._at_once if more else 0
        while True:
            try:
                # Not a try first, as Trio does: when everything has been read it fails, which takes 1.7 us. And
                # like this, every read is a turn for others; but behind a full one there is more, nearly always.
                if at_once:
                    at_once -= 1
                else:
                    if (fileno := self._fileno()) == -1:  # for which Trio has no error, but a ValueError
                        raise trio.ClosedResourceError("the socket was closed")
                    await trio.lowlevel.wait_readable(fileno)
                    at_once = _AT_ONCE
                data = os.read(self._fileno(), limit)
                self._at_once = at_once if len(data) == limit else 0
                return data
            except BlockingIOError:
                at_once = 0
            except OSError as exc:
                raise self._error(exc) from exc

    def receive_nowait(self, limit: int) -> bytes | None:
        try:
            return os.read(self._fileno(), limit)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise self._error(exc) from exc

    async def send_some(self, data: memoryview) -> tuple[int, bool | None]:
        sent = self.send_nowait(data)
        if sent:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return sent, False
        try:
            return await self.stream.socket.send(data), True
        except OSError as exc:
            raise self._error(exc) from exc

    def send_nowait(self, data: bytes | memoryview, behind: bytes = b"") -> int:
        try:
            return os.writev(self._fileno(), (data, behind)) if behind else os.write(self._fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._error(exc) from exc

    async def send_last(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self.send_nowait(data)

    async def close(self) -> None:
        # What Trio's own does without the two cancel scopes around it, 36 us.
        with suppress(OSError):
            self.stream.socket.close()

    def _error(self, exc: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
        if self._fileno() == -1:
            return trio.ClosedResourceError("the socket was closed")
        return trio.BrokenResourceError(f"socket connection broken: {exc}")


def make_transport(stream: trio.abc.Stream) -> Transport:
    # Where sockets are no file descriptors (Windows), they are streams like any other.
    return (
        SocketTransport(stream) if os.name == "posix" and isinstance(stream, trio.SocketStream) else Transport(stream)
    )


@asynccontextmanager
async def a_few_turns() -> AsyncIterator[None]:
    """Shield the block from cancellation for a few turns of the scheduler, then cancel it. The block may not raise."""
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = True
        nursery.start_soon(_cancel_after_a_few_turns, nursery.cancel_scope)
        yield
        nursery.cancel_scope.cancel()


async def _cancel_after_a_few_turns(scope: trio.CancelScope) -> None:
    for _ in range(_FEW):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def linger(stream: trio.abc.Stream, read_limit: int) -> None:
    """Tell the peer that nothing more comes, and read (and forget) what it still sends until it is done too.

    A TCP socket that is closed with unread input sends RST, which may destroy what the peer has not read yet:
    the close frame or the HTTP answer that says what was wrong.
    """
    with trio.move_on_after(_LINGER), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        if isinstance(stream, trio.SSLStream):
            # TLS has no half-close that Trio would offer. unwrap() sends our close_notify first of all; it
            # then fails if the peer still sends data, which is no reason to stop here.
            with suppress(trio.BrokenResourceError):
                await stream.unwrap()
            stream = stream.transport_stream
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
            while await stream.receive_some(read_limit):
                pass
