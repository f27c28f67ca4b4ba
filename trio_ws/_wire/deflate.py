"""permessage-deflate (RFC 7692) as an extension of wsproto: what goes into frames and what comes out of them.

wsproto brings one of its own, which this does not use: it inflates without bound, and a control frame between two
fragments throws its state over. Here inflating stops at ``max_size``, and zlib's objects are made when they are first
needed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Literal

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from .._options import Deflate
from .extensions import OUR_WINDOW, SMALLEST_WINDOW, parse_answer

__all__ = ["PerMessageDeflate", "deflate_agreed_in"]

#: §7.2.1: what a flush ends with, and what a message on the wire does without.
_TAIL = b"\x00\x00\xff\xff"
#: §7.2.3.6: an empty message; and the end of one whose last flush had nothing left to write.
_EMPTY = b"\x00"
#: Bytes that inflating gives at once; so many more than the limit may be allocated.
_OUTPUT = 2**14

_COMPRESSED = RsvBits(True, False, False)
_PLAIN = RsvBits(False, False, False)


class _TooBig(Exception):
    """A message exceeds the limit."""


class PerMessageDeflate(Extension):
    """The compression of one connection: make one for each.

    Args:
        compress_bits: The window for what we send. If zlib cannot compress for it, all of it is sent plain.
        compress_afresh: Whether each message is compressed by itself (§7.1.1, no context takeover).
        inflate_bits: The window that the peer agreed to keep within.
        inflate_afresh: Whether the peer compresses each message by itself.
        settings: How we compress.
        max_size: Bytes in one inflated message.
    """

    name = "permessage-deflate"

    def __init__(
        self,
        *,
        compress_bits: int,
        compress_afresh: bool,
        inflate_bits: int,
        inflate_afresh: bool,
        settings: Deflate,
        max_size: float,
    ) -> None:
        self._compress_bits = compress_bits
        self._compress_afresh = compress_afresh
        # Before 1.2.9, zlib used 9 bits when it was told 8.
        self._inflate_bits = max(inflate_bits, SMALLEST_WINDOW)
        self._inflate_afresh = inflate_afresh
        self._settings = settings
        self._max_size = max_size
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None
        # The message that we are sending: whether it is compressed, and whether the next one may be.
        self._compressing = False
        self.wanted = True
        # The message that we receive: whether it is compressed, and the present frame belongs to it; whether any of
        # it has come; how much it has become.
        self._compressed = False
        self._inflating = False
        self._begun = False
        self._size = 0
        self._inflated: list[bytes] | None = None
        #: Why a message was refused, for the close frame's reason.
        self.problem: str | None = None

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    # What comes in

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        # wsproto calls this again for the same frame when a header arrives in pieces.
        if opcode.iscontrol():
            self._inflating = False  # it may stand between two fragments, and leaves their state alone
            return _PLAIN
        if opcode is not Opcode.CONTINUATION:
            self._compressed = rsv.rsv1
        self._inflating = self._compressed
        # §6: RSV1 stands on a message's first frame only; elsewhere wsproto refuses it.
        return _PLAIN if opcode is Opcode.CONTINUATION else _COMPRESSED

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        if not self._inflating:
            return data
        self._begun = self._begun or bool(data)
        self._inflated = []
        # wsproto gets to see nothing of it: it would copy it four times.
        return self._inflate(data, self._inflated) or b""

    def take(self) -> list[bytes] | None:
        """What the data frame that wsproto has just passed on inflated to, in chunks; None if it was not compressed."""
        inflated, self._inflated = self._inflated, None
        return inflated

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> CloseReason | None:
        if not (self._inflating and fin):
            return None
        # Nothing is to be completed in a message of no bytes, or one that ended with its last block (BFINAL).
        if self._begun and self._decompressor is not None:
            # §7.2.2. The tail is an empty block. If it becomes data, it was taken for the rest of another one.
            rest: list[bytes] = []
            problem = self._inflate(_TAIL, rest)
            if problem is None and any(rest):
                problem = self._refuse("the compressed message is incomplete")
            if problem is not None:
                return problem
        self._begun = False
        self._compressed = False  # what continues nothing is not inflated, but refused
        self._size = 0
        if self._inflate_afresh:
            self._decompressor = None
        return None

    def _inflate(self, data: bytes, chunks: list[bytes]) -> CloseReason | None:
        try:
            self._inflate_all(data, chunks)
        except zlib.error as exc:
            return self._refuse(f"the compressed data is not valid: {exc}")
        except _TooBig:
            self.problem = f"message over the limit of {self._max_size} bytes"
            return CloseReason.MESSAGE_TOO_BIG
        return None

    def _inflate_all(self, data: bytes, chunks: list[bytes]) -> None:
        # zlib copies what it has not used each time; Protocol sees to it that this is never much.
        while True:
            if self._decompressor is None:
                self._decompressor = zlib.decompressobj(-self._inflate_bits)
            # One byte more than there is room for tells a message at the limit from one beyond it.
            most = int(min(_OUTPUT, self._max_size - self._size + 1))
            chunk = self._decompressor.decompress(data, most)
            self._size += len(chunk)
            if self._size > self._max_size:
                raise _TooBig
            if chunk:
                chunks.append(chunk)
            if self._decompressor.eof:
                # §7.2.3.4: a block may be the last of its stream. What follows is another stream.
                data, self._decompressor = self._decompressor.unused_data, None
                if not data:
                    return
            else:
                data = self._decompressor.unconsumed_tail
                # A full chunk may have left some behind, even when all of the input is used.
                if not data and len(chunk) < most:
                    return

    def _refuse(self, problem: str) -> CloseReason:
        self.problem = problem
        return CloseReason.INVALID_FRAME_PAYLOAD_DATA

    # What goes out

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        if opcode.iscontrol():
            return rsv, data
        first = opcode is not Opcode.CONTINUATION
        if first:
            # Of a message in fragments nobody knows how long it will be.
            large = not fin or len(data) >= self._settings.min_size
            self._compressing = self.wanted and large and self._compress_bits >= SMALLEST_WINDOW
        if not self._compressing:
            return rsv, data
        compressed = self._compress(data, fin)
        if first and fin and self._compress_afresh and len(compressed) >= len(data):
            return rsv, data  # it saves nothing, and nothing later refers to it
        return (_COMPRESSED if first else rsv), compressed

    def _compress(self, data: bytes, fin: bool) -> bytes:
        if self._compressor is None:
            settings = self._settings
            self._compressor = zlib.compressobj(settings.level, zlib.DEFLATED, -self._compress_bits, settings.mem_level)
        compressed = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if not fin:
            return compressed
        if self._compress_afresh:
            self._compressor = None
        return compressed.removesuffix(_TAIL) or _EMPTY

    def forget(self, *, others_follow: bool) -> bool:
        """A message that was compressed will not be sent: let nothing refer to it. Whether that can be done.

        A compressor that is made anew refers to nothing before it, and the peer need not know of that. It is too
        late when another message has been made after this one.
        """
        if others_follow and not self._compress_afresh:
            return False
        self._compressor = None
        return True


def deflate_agreed_in(
    answer: Iterable[str], role: Literal["client", "server"], settings: Deflate | None, max_size: int | None
) -> PerMessageDeflate | None:
    """The compression of one connection, if a server's answer has been that there is to be some.

    Args:
        answer: The values of every ``Sec-WebSocket-Extensions`` field in the 101.
        role: Which side of the connection we are.
        settings: What we compress with.
        max_size: Bytes in one inflated message; None for no limit.
    """
    agreed = parse_answer(answer)
    if agreed is None or settings is None:
        return None
    server = agreed.server_max_window_bits, agreed.server_no_context_takeover
    # A client may keep within less than it agreed to, and may use no context takeover in any case (§7.1.1.2, §7.1.2.2).
    client = agreed.client_max_window_bits, agreed.client_no_context_takeover
    ours, theirs = (server, client) if role == "server" else (client, server)
    if role == "client":
        ours = (
            min(ours[0], settings.client_max_window_bits or OUR_WINDOW),
            ours[1] or settings.client_no_context_takeover,
        )
    return PerMessageDeflate(
        compress_bits=ours[0],
        compress_afresh=ours[1],
        inflate_bits=theirs[0],
        inflate_afresh=theirs[1],
        settings=settings,
        max_size=math.inf if max_size is None else max_size,
    )
