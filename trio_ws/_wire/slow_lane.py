"""wsproto's state machine, for every frame that is not plain: compressed fragments, unusual closings, broken rules.

What this adds: limits that hold from a frame's header, and failures told from closings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from wsproto import events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection

from .._values import CloseCode
from .deflate import PerMessageDeflate
from .events import Close, Failure, Ping, Pong, Role, not_utf8
from .frames import BINARY, FIN, TEXT, make_frame, whole_size
from .incoming import IncomingMessage
from .limits import FrameGuard

__all__ = ["SlowLane"]

#: A frame's header is at most this long, mask included (§5.2).
_MAX_HEADER = 14
#: The first byte of a fragment between the first and the last (§5.4): FIN, reserved bits and opcode are all 0.
_MIDDLE = 0


class SlowLane:
    """One side of an open connection; see :class:`~trio_ws._wire.protocol.Protocol` for the arguments.

    It is given one frame after the other, so that the next may go elsewhere; only the fragments in the middle of a
    message, which cannot, are given to it together.
    """

    __slots__ = (
        "_guard",
        "_header",
        "_owed",
        "_wsproto",
    )

    def __init__(
        self, role: Role, *, max_size: int | None, max_fragments: float, deflate: PerMessageDeflate | None
    ) -> None:
        self._guard = FrameGuard(math.inf if max_size is None else max_size, max_fragments, compression=bool(deflate))
        kind = ConnectionType.CLIENT if role == "client" else ConnectionType.SERVER
        self._wsproto = Connection(kind, [self._guard] if deflate is None else [self._guard, deflate])
        #: The header of a frame of which no more has come; once it is complete, how many bytes of the frame have not.
        self._header = b""
        self._owed = 0

    @property
    def mid_frame(self) -> bool:
        """Whether the next bytes belong to a frame that began here."""
        return self._owed > 0 or self._header != b""

    def take(self, data: bytes, start: int) -> int:
        """Take what there is of the frame that begins, or goes on, at ``start``; return where that ends.

        With it go the fragments behind it that are neither the first nor the last. One by one, wsproto looks twice at
        each.
        """
        end = self._end(data, start)
        while not self.mid_frame and end < len(data) and data[end] == _MIDDLE:
            end = self._end(data, end)
        self._wsproto.receive_data(data[start:end])
        return end

    def _end(self, data: bytes, start: int) -> int:
        if not self._owed:
            header = self._header + data[start : start + _MAX_HEADER]
            size = whole_size(header)
            if size is None:
                self._header = header
                return len(data)
            self._owed = size - len(self._header)
            self._header = b""
        end = min(start + self._owed, len(data))
        self._owed -= end - start
        return end

    def go_on(self, message: IncomingMessage) -> None:
        """Take over a message in the middle, between two of its fragments.

        wsproto knows the state of a message from its fragments. So it gets one that stands for all that have come: of
        the same kind, and with nothing in it but the beginning of a character that the next one goes on with.
        """
        first = (TEXT if message.text else BINARY) & ~FIN
        self._wsproto.receive_data(b"".join(make_frame(first, message.undecoded, not self._wsproto.client)))
        for _ in self._wsproto.events():
            pass  # of which nothing is to be passed on
        self._guard.go_on(message.size, message.fragments)

    def events(self) -> Iterator[events.Message[Any] | Ping | Pong | Close | Failure]:
        """What that was: a part of a message, as wsproto has it, or an event of ours."""
        for event in self._wsproto.events():
            if isinstance(event, events.Message):
                yield event
            elif isinstance(event, events.Ping):
                yield Ping(bytes(event.payload))
            elif isinstance(event, events.Pong):
                yield Pong(bytes(event.payload))
            else:
                assert isinstance(event, CloseConnection)
                yield self._close_or_failure(event)

    def _close_or_failure(self, event: CloseConnection) -> Close | Failure:
        reason = event.reason or ""
        # wsproto reports a peer that broke the rules as a close too, and leaves its state as it was. The
        # check for that can go when it raises (python-hyper/wsproto pull request 100).
        if self._wsproto.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            return Close(CloseCode.BAD_GATEWAY if self._guard.bad_gateway else event.code, reason)
        return Failure(int(event.code), self._guard.problem or reason)

    # Sending

    def fragment(self, data: str | bytes, *, finished: bool) -> bytes:
        """A part of a message in several frames (§5.4)."""
        if isinstance(data, bytes):
            return bytes(self._wsproto.send(events.BytesMessage(data=data, message_finished=finished)))
        try:
            return bytes(self._wsproto.send(events.TextMessage(data=data, message_finished=finished)))
        except UnicodeEncodeError as exc:
            raise not_utf8(data, "a text message") from exc
