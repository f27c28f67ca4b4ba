"""Every exception that trio_ws raises, and whose fault each one is.

The names follow h11: ``Local...`` means that this program did something wrong, ``Remote...`` that the
peer did. Two families cover a connection's life: :exc:`HandshakeError` is everything that can go wrong
before it opens, :exc:`ConnectionClosed` is the end of one that was open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from ._values import CloseReason, Response

__all__ = [
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionRejected",
    "HandshakeError",
    "HandshakeTimeout",
    "InvalidURL",
    "LocalHandshakeError",
    "LocalProtocolError",
    "RemoteHandshakeError",
    "RemoteProtocolError",
    "WebSocketError",
]


class WebSocketError(Exception):
    """The base class of every exception defined here."""


class LocalProtocolError(WebSocketError):
    """This program asked for something that the protocol forbids; nothing was sent.

    For example: a message that is neither text nor bytes, a close code that may not be sent, a line
    break in a header. The connection stays as it was.
    """


class RemoteProtocolError(WebSocketError):
    """The peer broke the protocol.

    On an open connection this is never raised by itself: it is the ``__cause__`` of the
    :exc:`ConnectionClosedError` that everyone waiting gets.
    """


class HandshakeError(WebSocketError):
    """The connection never opened: resolving, connecting, TLS or the opening handshake failed.

    What failed underneath (an :exc:`OSError`, an :exc:`ssl.SSLError`) is the ``__cause__``.
    """


class HandshakeTimeout(HandshakeError, TimeoutError):
    """The connection did not open within ``open_timeout`` seconds."""


class InvalidURL(HandshakeError, ValueError):
    """The URL is not one that a WebSocket can be opened on (RFC 6455 §3)."""


class LocalHandshakeError(HandshakeError, LocalProtocolError):
    """This program asked for a handshake that may not be sent; nothing was sent."""


class RemoteHandshakeError(HandshakeError, RemoteProtocolError):
    """The peer's side of the opening handshake is not what RFC 6455 §4 asks for."""


class ConnectionRejected(HandshakeError):
    """The server answered the opening handshake with something else than 101.

    Client: the server's answer. Server: what this server, or one of its hooks, answered.

    Attributes:
        response: The :class:`Response`; on the client with at most the first 1 MiB of its body.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        return f"the opening handshake was answered with {self.response.describe()}"


class ConnectionClosed(WebSocketError):
    """The connection was open and is closed now.

    Attributes:
        reason: A :class:`CloseReason`: both sides' codes and who closed first. Once the connection is closed it is
            the same for everyone. While the closing handshake is under way, or the peer's last words are still
            being read after a write failed, it is what is known so far.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.reason)


class ConnectionClosedOK(ConnectionClosed, trio.EndOfChannel, trio.ClosedResourceError):
    """The connection was closed on purpose: code 1000, 1001 or none.

    It is also a :exc:`trio.EndOfChannel` and a :exc:`trio.ClosedResourceError`, so that code written for
    any Trio channel understands it, and ``async for`` over a connection ends.
    """


class ConnectionClosedError(ConnectionClosed, trio.BrokenResourceError):
    """The connection was closed by a failure: any other code, or no closing handshake at all.

    What failed underneath, where something did, is the ``__cause__``.
    """
