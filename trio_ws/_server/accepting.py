"""Accepting clients also when the system has nothing left to accept them with."""

from __future__ import annotations

import errno
import logging
import math
from typing import Generic, TypeVar

import trio

__all__ = ["PatientListener"]

_T = TypeVar("_T", bound=trio.abc.AsyncResource)

_log = logging.getLogger("trio_ws.server")

#: What accept(2) says when the process or the system has run out of file descriptors or memory.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: Seconds until it is tried again, and for how many seconds it is not said again.
_PAUSE = 0.1
_QUIET = 60


class PatientListener(trio.abc.Listener[_T], Generic[_T]):
    """Another listener, which waits and tries again where that one finds nothing left to accept a client with.

    :func:`trio.serve_listeners` would do so as well, but log a traceback ten times a second.
    """

    def __init__(self, listener: trio.abc.Listener[_T]) -> None:
        self._listener = listener
        self._said = -math.inf

    async def accept(self) -> _T:
        while True:
            try:
                return await self._listener.accept()
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                self._say(exc)
            await trio.sleep(_PAUSE)

    def _say(self, exc: OSError) -> None:
        now = trio.current_time()
        if now - self._said >= _QUIET:
            self._said = now
            _log.error("cannot accept clients: %s; trying again every %s seconds", exc.strerror, _PAUSE)

    async def aclose(self) -> None:
        await self._listener.aclose()
