"""Accepting clients also when the system has nothing left to accept them with."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

__all__ = ["accept_clients"]

_T = TypeVar("_T", bound=trio.abc.AsyncResource)

_log = logging.getLogger("trio_ws.server")

#: What accept(2) says when the process or the system has run out of file descriptors or memory.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: Seconds until it is tried again, and for how many seconds it is not said again.
_PAUSE = 0.1
_QUIET = 60


async def accept_clients(
    listener: trio.abc.Listener[_T], nursery: trio.Nursery, serve: Callable[[_T], Awaitable[None]]
) -> None:
    """Run ``serve`` in the nursery for each client, until cancelled; then the listener is closed.

    What :func:`trio.serve_listeners` does besides is to log a traceback ten times a second where the system has nothing
    left to accept with, and to close each stream behind ``serve``, which has done so.
    """
    said = -math.inf
    async with listener:
        while True:
            try:
                nursery.start_soon(serve, await listener.accept())
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                if trio.current_time() - said >= _QUIET:
                    said = trio.current_time()
                    _log.error("cannot accept clients: %s; trying again every %s seconds", exc.strerror, _PAUSE)
                await trio.sleep(_PAUSE)
