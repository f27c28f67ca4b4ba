"""Messages on their way from the reader to whoever receives them.

A memory channel of ``max_queue`` messages is all that is ever kept for a consumer that does not come: when it is
full, what is left of the present read waits beside it (``full``), the reader stops reading, and the peer slows down.
It is the consumer that moves things up when it has taken something; so a connection that has ended needs no task to
deliver what it still holds.
"""

from __future__ import annotations

import io

import trio

from .._wire.protocol import Piece

__all__ = ["Assembly", "Inbox"]

#: Characters of a text that are joined in one place.
_PART = 2**14


class Assembly:
    """One message that arrives in pieces: put together here, or streamed to a consumer that claimed it."""

    def __init__(self, kind: type[str] | type[bytes]) -> None:
        self.kind = kind
        self._forget()
        self._sink: trio.MemorySendChannel[str | bytes] | None = None
        #: Whether all of it has been handed to the consumer.
        self.complete = False

    @property
    def claimed(self) -> bool:
        return self._sink is not None

    def _forget(self) -> None:
        # Joined as they come: a message of a million tiny pieces costs its bytes, not a million objects. A StringIO
        # may reserve a quarter more than it holds, so it holds no more than a part of a text.
        self._bytes = io.BytesIO()
        self._texts: list[str] = []
        self._text = io.StringIO()

    def add(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._bytes.write(data)
        elif self._text.write(data) and self._text.tell() >= _PART:
            self._texts.append(self._text.getvalue())
            self._text = io.StringIO()

    def whole(self) -> str | bytes:
        return self._bytes.getvalue() if self.kind is bytes else "".join([*self._texts, self._text.getvalue()])

    def claim(self, max_queue: int) -> trio.MemoryReceiveChannel[str | bytes]:
        """From now on the pieces go to the channel returned; the first of them is all that came so far."""
        self._sink, source = trio.open_memory_channel[str | bytes](max_queue)
        so_far = self.whole()
        if so_far:
            self._sink.send_nowait(so_far)
        self._forget()
        return source

    def put(self, data: str | bytes) -> None:
        """Hand a piece to the consumer; raises trio.WouldBlock, and trio.BrokenResourceError if it has left."""
        assert self._sink is not None
        self._sink.send_nowait(data)

    def finish(self) -> None:
        self.complete = True
        self.close()

    def close(self) -> None:
        assert self._sink is not None
        self._sink.close()


#: What waits for room: a message for the queue (no assembly), or for the consumer of an assembly a piece or
#: (None) the end.
_Waiting = tuple[Assembly | None, "str | bytes | None"]


class Inbox:
    """The queue of one connection, and what surrounds it."""

    __slots__ = (
        "_assembly",
        "_changed",
        "_claimed",
        "_claimers",
        "_closed",
        "_discarding",
        "_expected",
        "_max_queue",
        "_message",
        "_queue",
        "_room",
        "_source",
        "_waiting",
        "queued",
    )

    def __init__(self, max_queue: int) -> None:
        self._max_queue = max_queue
        # The channel is made when it is needed: it takes 1.8 kB, and an idle connection does without.
        self._queue: trio.MemorySendChannel[str | bytes] | None = None
        self._source: trio.MemoryReceiveChannel[str | bytes] | None = None
        # Whether the task that reads just now takes the next message itself, and that message.
        self._expected = False
        self._message: str | bytes | None = None
        # Never more than what one read holds, so taking the first is cheap.
        self._waiting: list[_Waiting] = []
        #: The message that is arriving in pieces, and the one whose consumer has not got all of it yet.
        self._assembly: Assembly | None = None
        self._claimed: Assembly | None = None
        self._room: trio.Event | None = None
        self._changed: trio.Event | None = None
        #: Tasks that wait for a message to begin.
        self._claimers = 0
        self._discarding = False
        self._closed = False
        #: About how many messages can be had without waiting: those handed to tasks that have not run yet count too.
        self.queued: int = 0

    def _open(self) -> trio.MemorySendChannel[str | bytes]:
        self._queue, self._source = trio.open_memory_channel[str | bytes](self._max_queue)
        if self._closed:
            self._queue.close()
        return self._queue

    @property
    def source(self) -> trio.MemoryReceiveChannel[str | bytes]:
        """``source.receive()`` waits for the next message; say :meth:`taken` when it has come."""
        if self._source is None:
            self._open()
        assert self._source is not None
        return self._source

    @property
    def ended(self) -> bool:
        """Whether nothing will ever come, and nothing did that is still to be received, as far as that is known."""
        return self._closed and self._source is None

    # The reader's side

    @property
    def full(self) -> bool:
        """Whether something waits for room, so that reading has to stop."""
        return bool(self._waiting)

    @property
    def in_pieces(self) -> bool:
        """Whether somebody wants a message in pieces, as they come."""
        return self._claimers > 0 or self._claimed is not None

    @property
    def depth(self) -> int:
        """Messages that wait in the queue."""
        return 0 if self._source is None else self._source.statistics().current_buffer_used

    def expect(self) -> None:
        """The next message is for the task that reads it: it need not go through the queue, which is empty."""
        self._expected = True

    def expected(self) -> str | bytes | None:
        """That message, or None if none has come."""
        message, self._message = self._message, None
        self._expected = False
        return message

    def put(self, message: str | bytes) -> None:
        """Take one message. Never waits; look at :attr:`full` afterwards."""
        if self._discarding:
            return
        if self._expected:
            self._expected, self._message = False, message
            return
        if self._waiting:
            self._waiting.append((None, message))
            return
        try:
            (self._queue or self._open()).send_nowait(message)
            self.queued += 1
        except trio.WouldBlock:
            self._waiting.append((None, message))
        if self._changed is not None:
            self._notify()

    def put_piece(self, piece: Piece) -> None:
        """Take a piece of one, in the same way."""
        if self._discarding:
            return
        assembly = self._assembly
        if assembly is None:
            assembly = self._assembly = Assembly(str if isinstance(piece.data, str) else bytes)
        if piece.finished:
            self._assembly = None
        if not assembly.claimed:
            assembly.add(piece.data)
            if piece.finished:
                self.put(assembly.whole())
            else:
                self._notify()
            return
        if piece.data:
            self._put(assembly, piece.data)
        if piece.finished:
            self._put(assembly, None)

    def _put(self, assembly: Assembly, data: str | bytes | None) -> None:
        if self._waiting:
            self._waiting.append((assembly, data))
            return
        try:
            self._hand_over(assembly, data)
        except trio.WouldBlock:
            self._waiting.append((assembly, data))

    def _hand_over(self, assembly: Assembly | None, data: str | bytes | None) -> None:
        try:
            if assembly is None:
                assert data is not None
                (self._queue or self._open()).send_nowait(data)
                self.queued += 1
            elif data is None:
                assembly.finish()
                self._claimed = None
            else:
                assembly.put(data)
        except trio.BrokenResourceError:
            pass  # the consumer of this message left before its end: the rest of it is dropped
        self._notify()

    async def wait_for_room(self) -> None:
        """Being full, return when nothing waits any longer: it was taken, or discarded. Cancelling loses nothing."""
        self._room = trio.Event()
        await self._room.wait()

    def discard(self) -> None:
        """Keep what is in the queue, and nothing else: nobody is going to make room."""
        self._discarding = True
        self._waiting.clear()
        self.move_up()

    def close(self) -> None:
        """Nothing more will come. What is here can still be received."""
        self._closed = True
        self.move_up()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    # The consumer's side; each raises trio.EndOfChannel when nothing more will come

    def move_up(self) -> None:
        """A consumer took something, or went: let what waits follow, and the end behind it."""
        while self._waiting:
            try:
                self._hand_over(*self._waiting[0])
            except trio.WouldBlock:
                return
            self._waiting.pop(0)
        self._nothing_waits()

    def _nothing_waits(self) -> None:
        if self._room is not None:
            self._room.set()
        if self._closed:
            if self._queue is not None:
                self._queue.close()
            if self._claimed is not None:
                self._claimed.close()
            self._notify()

    def receive_nowait(self) -> str | bytes:
        message = self.source.receive_nowait()
        self.queued -= 1
        if self._waiting and self._waiting[0][0] is None:
            # There is room for one now. Not move_up(): to find out that there is none for another takes 0.9 us.
            self._hand_over(*self._waiting.pop(0))
            if not self._waiting:
                self._nothing_waits()
        return message

    def taken(self) -> None:
        """A message came out of :attr:`source`."""
        self.queued -= 1
        if self._waiting:
            self.move_up()

    async def claim(self) -> tuple[Assembly, trio.MemoryReceiveChannel[str | bytes]]:
        """Wait for the next message to begin, and get its pieces as they arrive. A cancelled wait loses nothing."""
        self._claimers += 1
        try:
            while (claimed := self._claim_nowait()) is None:
                if self._changed is None:
                    self._changed = trio.Event()
                await self._changed.wait()
        finally:
            self._claimers -= 1
        return claimed

    def _claim_nowait(self) -> tuple[Assembly, trio.MemoryReceiveChannel[str | bytes]] | None:
        try:
            message = self.receive_nowait()
        except trio.WouldBlock:
            # Pieces may be claimed only when no message in front of them is still waiting for room.
            if self._assembly is None or self._assembly.claimed or self._waiting:
                return None
            self._claimed = self._assembly
            return self._assembly, self._assembly.claim(self._max_queue)
        assembly = Assembly(str if isinstance(message, str) else bytes)
        source = assembly.claim(1)
        assembly.put(message)
        assembly.finish()
        return assembly, source
