"""What wsproto leaves to us when frames come in: limits, judged from a frame's header, and one close code.

wsproto knows no limits, but it shows every inbound frame header to its extensions and lets them refuse it. So
the guard is an extension that negotiates nothing.
"""

from __future__ import annotations

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

__all__ = ["FrameGuard", "most_on_the_wire"]

_BAD_GATEWAY = (1014).to_bytes(2)
_TRY_AGAIN_LATER = (1013).to_bytes(2)
#: Bytes by which a fragment may grow that is compressed and flushed by itself, however tiny it is.
_FLUSH = 16
_NO_RSV = RsvBits(False, False, False)


def most_on_the_wire(max_size: float, *, compressed: bool, fragments: int = 0) -> float:
    """Bytes that a message of ``max_size`` bytes may take, behind so many fragments, from an honest compressor."""
    return 2 * max_size + _FLUSH * (fragments + 1) if compressed else max_size


class FrameGuard(Extension):
    """Refuses the frame whose header says that its message exceeds ``max_size`` bytes or ``max_fragments`` frames.

    How large a compressed message becomes is seen when it is inflated (``deflate.py``). Its frames are refused here
    when no honest compressor makes so much of ``max_size`` bytes.
    """

    name = "trio-ws-guard"

    def __init__(self, max_size: float, max_fragments: float, *, compression: bool = False) -> None:
        self._compression = compression
        self._max_size = max_size
        self._compressed = False
        self._max_fragments = max_fragments
        self._size = 0
        self._fragments = 0
        self._frame_size: int | None = None
        self._closing = False
        #: Whether the close frame said 1014.
        self.bad_gateway = False
        #: Which limit was exceeded, for the close frame's reason.
        self.problem: str | None = None

    def go_on(self, size: int, fragments: int) -> None:
        """So many bytes and frames of a message have come elsewhere; what follows of it comes here."""
        self._size, self._fragments = size, fragments

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
            self._closing = opcode is Opcode.CLOSE
            return _NO_RSV
        if rsv.rsv2 or rsv.rsv3 or (rsv.rsv1 and (opcode is Opcode.CONTINUATION or not self._compression)):
            return _NO_RSV  # whatever its size, it is wsproto who refuses it (§5.2)
        if opcode is not Opcode.CONTINUATION:
            self._compressed = rsv.rsv1
        self._frame_size = payload_length
        most = most_on_the_wire(self._max_size, compressed=self._compressed, fragments=self._fragments)
        if self._size + payload_length > most:
            self.problem = f"message over the limit of {self._max_size} bytes"
            return CloseReason.MESSAGE_TOO_BIG
        if self._fragments >= self._max_fragments:
            self.problem = f"message over the limit of {self._max_fragments} fragments"
            return CloseReason.POLICY_VIOLATION
        return _NO_RSV

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        # 1014 was registered after RFC 6455, and wsproto refuses it. It gets to see the code next to it instead, and
        # Protocol puts that right. This can go when wsproto knows 1014.
        if self._closing and data[:2] == _BAD_GATEWAY:
            self.bad_gateway = True
            return _TRY_AGAIN_LATER + data[2:]
        return data

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        if self._frame_size is None:
            return
        self._size = 0 if fin else self._size + self._frame_size
        self._fragments = 0 if fin else self._fragments + 1
