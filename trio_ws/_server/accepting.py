"""Accepting clients also when the system has nothing left to accept them with."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import trio

__all__ = ["accept_clients"]

_log = logging.getLogger("trio_ws.server")

#: What accept(2) says when the process or the system has run out of file descriptors or memory.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: Seconds until it is tried again, and for how many seconds it is not said again.
_PAUSE = 0.1
_QUIET = 60


async def accept_clients(
    listener: trio.abc.Listener[Any], nursery: trio.Nursery, serve: Callable[[Any], Awaitable[None]]
) -> None:
    """Run ``serve`` in the nursery for each client, until cancelled; then the listener is closed.

    What :func:`trio.serve_listeners` does besides is to log a traceback ten times a second where the system has nothing
    left to accept with, and to close each stream behind ``serve``, which has done so.
    """
    said = -math.inf
    async with listener:
        with _accepting(listener) as accept:
            while True:
                try:
                    nursery.start_soon(serve, await accept())
                except OSError as exc:
                    if exc.errno not in _EXHAUSTED:
                        raise
                    if trio.current_time() - said >= _QUIET:
                        said = trio.current_time()
                        _log.error("cannot accept clients: %s; trying again every %s seconds", exc.strerror, _PAUSE)
                    await trio.sleep(_PAUSE)


@contextmanager
def _accepting(listener: trio.abc.Listener[Any]) -> Iterator[Callable[[], Awaitable[Any]]]:
    """Gives what to call in place of ``listener.accept``: the same, on a plain socket by a shorter way."""
    if os.name == "posix" and isinstance(listener, trio.SocketListener) and listener.socket.fileno() != -1:
        with _twin(listener.socket) as twin:
            yield partial(_accept_when_ready, listener, twin)
    else:
        yield listener.accept


@contextmanager
def _twin(sock: trio.socket.SocketType) -> Iterator[socket.socket]:
    """The :mod:`socket` module's object for the same file descriptor, which stays open behind this."""
    twin = socket.socket(sock.family, sock.type, sock.proto, sock.fileno())
    try:
        twin.setblocking(False)
        yield twin
    finally:
        twin.detach()


async def _accept_when_ready(listener: trio.SocketListener, twin: socket.socket) -> trio.SocketStream:
    # Not a try first, as Trio does: when everybody has been accepted it fails. And like this, every client is a turn
    # for others.
    with suppress(OSError, ValueError):  # the latter for a socket that has been closed
        await trio.lowlevel.wait_readable(listener.socket)
        if listener.socket.fileno() != -1:  # else the number may be somebody else's by now
            return trio.SocketStream(trio.socket.from_stdlib_socket(twin.accept()[0]))
    return await listener.accept()  # which knows what every error means
