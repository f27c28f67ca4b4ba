"""permessage-deflate (RFC 7692) as an extension of wsproto: what goes into frames and what comes out of them.

wsproto brings one of its own, which this does not use: it inflates without bound, and a control frame between two
fragments throws its state over. Here wsproto gets to see no content of compressed frames; it is put aside, and whoever
reads inflates it, chunk by chunk. zlib's objects are made when they are first needed.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Literal

from wsproto.extensions import Extension
from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode, RsvBits

from .._options import Deflate
from .._values import CloseCode
from .extensions import OUR_WINDOW, SMALLEST_WINDOW, parse_answer

__all__ = ["InflateError", "PerMessageDeflate", "deflate_agreed_in"]

#: §7.2.1: what a flush ends with, and what a message on the wire does without.
_TAIL = b"\x00\x00\xff\xff"
#: §7.2.3.6: an empty message; and the end of one whose last flush had nothing left to write.
_EMPTY = b"\x00"
#: Bytes that inflating gives at once; so many more than the limit may be made.
_OUTPUT = 2**14
#: Bytes to inflate at once. zlib copies what it has not used: of a large piece, again and again.
_INPUT = 2**14
#: A last block, stored, of one byte: what a decompressor that stands between two blocks inflates to that byte.
_PROBE, _PROBED = b"\x01\x01\x00\xfe\xff!", b"!"

_COMPRESSED = RsvBits(True, False, False)
_PLAIN = RsvBits(False, False, False)


class InflateError(Exception):
    """A message cannot be inflated, or not within the limit: the connection has to be failed with this code."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


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
        self._max_size = int(min(max_size, sys.maxsize - 1))
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None
        # The message that we are sending: whether it is compressed, and whether the next one may be.
        self._compressing = False
        self.wanted = True
        # The message that we receive: whether it is compressed, and the present frame belongs to it; content of that
        # frame that has come; whether any of the message has been inflated, and how much it has become.
        self._compressed = False
        self._inflating = False
        self._payload: bytes | None = None
        self._begun = False
        self._size = 0
        #: What :meth:`inflate_at_once` has begun: a chunk, what :meth:`_step` left, and further input.
        self._left_over: tuple[bytes, bytes, bool, bytes] | None = None

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

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        if not self._inflating:
            return data
        self._payload = data
        return b""

    def take(self) -> bytes | None:
        """The content, still compressed, of what wsproto has just passed on; None if that was not compressed."""
        payload, self._payload = self._payload, None
        return payload

    def inflate_at_once(self, data: bytes) -> bytes | None:
        """Inflate a message that has come as a whole, if that takes no more than one step, as it does for most.

        Most messages are small, and generators would take longer for one than zlib does.

        Returns:
            None if there is more: then ``inflate(b"", last=True)`` gives all of it.

        Raises:
            InflateError: As in :meth:`inflate`.
        """
        self._begun = True
        try:
            chunk, rest, full = self._step(data[:_INPUT])
            if rest or full or len(data) > _INPUT:
                self._left_over = chunk, rest, full, data[_INPUT:]
                return None
            self._finish()
        except zlib.error as exc:
            raise _invalid(exc) from None
        return chunk

    def inflate(self, data: bytes, *, last: bool) -> Iterator[tuple[bytes, bool]]:
        """Inflate the next part of a message, a chunk at a time; with each, whether the message ends with it.

        Args:
            last: Whether the message ends with this part.

        Raises:
            InflateError: 1007 the data is not valid or incomplete, 1009 the message exceeds the limit.
        """
        try:
            # One chunk is held back: whether it is the last turns out behind it.
            chunk = b""
            for following in self._inflate(data):
                if chunk:
                    yield chunk, False
                chunk = following
            if last:
                self._finish()
            yield chunk, last
        except zlib.error as exc:
            raise _invalid(exc) from None

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        if self._left_over is not None:
            (chunk, rest, full, data), self._left_over = self._left_over, None
            yield chunk
            del chunk  # it may be long until this goes on
            yield from self._steps(rest, full)
        for start in range(0, len(data), _INPUT):
            self._begun = True
            yield from self._steps(data[start : start + _INPUT], False)

    def _steps(self, rest: bytes, full: bool) -> Iterator[bytes]:
        while rest or full:
            chunk, rest, full = self._step(rest)
            if chunk:
                yield chunk

    def _step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """One chunk, the input that was not used for it, and whether there may be more even if all was."""
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-self._inflate_bits)
        # One byte more than there is room for tells a message at the limit from one beyond it.
        most = min(_OUTPUT, self._max_size - self._size + 1)
        chunk = self._decompressor.decompress(data, most)
        self._size += len(chunk)
        if self._size > self._max_size:
            raise InflateError(CloseCode.MESSAGE_TOO_BIG, f"message over the limit of {self._max_size} bytes")
        if self._decompressor.eof:
            # §7.2.3.4: a block may be the last of its stream. What follows is another stream.
            rest = self._decompressor.unused_data
            self._decompressor = None
            return chunk, rest, False
        # A full chunk may have left some behind, even when all of the input is used.
        return chunk, self._decompressor.unconsumed_tail, len(chunk) == most

    def _finish(self) -> None:
        # Nothing is to be completed in a message of no bytes, or one that ended with the last block of a stream.
        if self._begun and self._decompressor is not None and not _complete(self._decompressor):
            raise InflateError(CloseCode.INVALID_DATA, "the compressed message is incomplete")
        self._begun = False
        self._size = 0
        if self._inflate_afresh:
            self._decompressor = None

    # What goes out

    def deflate(self, data: bytes, *, wanted: bool) -> bytes | None:
        """The content of a whole message, compressed; None if it is to be sent as it is."""
        if not wanted or len(data) < self._settings.min_size or not self._can_compress:
            return None
        compressed = self._compress(data, True)
        if self._compress_afresh and len(compressed) >= len(data):
            return None  # it saves nothing, and nothing later refers to it
        return compressed

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        # wsproto makes the fragments of a message only. How long that will be nobody knows.
        first = opcode is not Opcode.CONTINUATION
        if first:
            self._compressing = self.wanted and self._can_compress
        if not self._compressing:
            return rsv, data
        return (_COMPRESSED if first else rsv), self._compress(data, fin)

    @property
    def _can_compress(self) -> bool:
        return self._compress_bits >= SMALLEST_WINDOW

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


def _invalid(error: zlib.error) -> InflateError:
    return InflateError(CloseCode.INVALID_DATA, f"the compressed data is not valid: {error}")


def _complete(decompressor: zlib._Decompress) -> bool:
    """Add the tail that a message on the wire does without (§7.2.2); whether the message ended where a block does.

    The tail is an empty block. A message that was cut short would take it for the rest of another one, and then the
    next message as well.
    """
    if decompressor.decompress(_TAIL, 1) or decompressor.eof:
        return False
    probe = decompressor.copy()
    try:
        return probe.decompress(_PROBE) == _PROBED and probe.eof
    except zlib.error:
        return False


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
