"""A message that comes in more than one part: what its parts are for whoever receives it."""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder

from .events import Piece

__all__ = ["IncomingMessage"]

_UTF8Decoder = getincrementaldecoder("utf-8")


class IncomingMessage:
    """One message, from its first part to its last.

    Args:
        text: Whether its content is UTF-8, to be decoded here.
        compressed: Whether its content has to be inflated first.
        begun: Whether a part of it has been passed on.
        plain: Whether it comes in fragments that the fast lane takes: they are not compressed, and nothing has been
            wrong with any of them.
    """

    __slots__ = ("_begun", "_decoder", "compressed", "fragments", "plain", "size", "text")

    def __init__(self, *, text: bool, compressed: bool = False, begun: bool = False, plain: bool = False) -> None:
        self.text = text
        self._decoder: IncrementalDecoder | None = _UTF8Decoder() if text else None
        self.compressed = compressed
        self._begun = begun
        self.plain = plain
        #: If it is plain, how many bytes and fragments have been announced.
        self.size = self.fragments = 0

    @property
    def undecoded(self) -> bytes:
        """The beginning of a character whose end has not come."""
        return b"" if self._decoder is None else self._decoder.getstate()[0]

    def decoded(self, content: bytes, finished: bool) -> str | bytes | Piece:
        """The event that this part is. A character may begin in one part and end in another.

        Raises:
            UnicodeDecodeError: It is not UTF-8, or it ends within a character (RFC 6455 §8.1).
        """
        return self.part(content if self._decoder is None else self._decoder.decode(content, finished), finished)

    def part(self, data: str | bytes, finished: bool) -> str | bytes | Piece:
        """The same for what is decoded already: a message that turns out to have but one part is no piece."""
        whole = finished and not self._begun
        self._begun = True
        return data if whole else Piece(data, finished)
