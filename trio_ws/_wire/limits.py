"""The limits on one message, judged from each frame's header before any of its payload is read.

wsproto knows no limits, but it shows every inbound frame header to its extensions and lets them refuse it. So
the guard is an extension that negotiates nothing and changes nothing.
"""

from __future__ import annotations

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

__all__ = ["FrameGuard"]

_NO_RSV = RsvBits(False, False, False)


class FrameGuard(Extension):
    """Refuses the frame whose header says that its message exceeds ``max_size`` bytes or ``max_fragments`` frames."""

    name = "trio-ws-guard"

    def __init__(self, max_size: float, max_fragments: float) -> None:
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._size = 0
        self._fragments = 0
        self._frame_size: int | None = None
        #: Which limit was exceeded, for the close frame's reason.
        self.problem: str | None = None

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # wsproto calls this again for the same frame when a header arrives in pieces, so nothing is
        # added up before the frame is complete.
        if opcode.iscontrol():
            self._frame_size = None
            return _NO_RSV
        self._frame_size = payload_length
        if self._size + payload_length > self._max_size:
            self.problem = f"message over the limit of {self._max_size} bytes"
            return CloseReason.MESSAGE_TOO_BIG
        if self._fragments >= self._max_fragments:
            self.problem = f"message over the limit of {self._max_fragments} fragments"
            return CloseReason.POLICY_VIOLATION
        return _NO_RSV

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        if self._frame_size is None:
            return
        self._size = 0 if fin else self._size + self._frame_size
        self._fragments = 0 if fin else self._fragments + 1
