"""What a connection may take at most, as docs/memory.md has it."""

from __future__ import annotations

__all__ = ["GIB", "INFLATED", "KIB", "MIB", "receiving", "sending"]

KIB, MIB, GIB = 2**10, 2**20, 2**30

#: Bytes that a small message takes besides its own while it waits, and how many of one read do so at once.
OBJECT, MOST_OF_A_READ = 130, 2000
#: Bytes that may have been inflated and wait.
INFLATED = 64 * KIB


def receiving(max_size: int, max_queue: int, read_limit: int = 64 * KIB, *, width: int = 1, size: int = 0) -> int:
    """The queue, a message being put together, one in the handler's hands, a read, and what the messages are made of.

    Args:
        width: Bytes that a character takes.
        size: Bytes of the messages, if they are smaller than they may be.
    """
    waiting = max_queue + min(MOST_OF_A_READ, read_limit // (size or max_size))
    return width * (max_queue + 2) * max_size + read_limit + OBJECT * waiting


def sending(write_limit: int) -> int:
    """Frames that are being written together, and those that are left behind them."""
    return write_limit
