"""A WebSocket connection that behaves like every other Trio resource."""

from __future__ import annotations

from types import FunctionType as _FunctionType

from ._client.connect import connect_websocket, open_websocket, wrap_client_stream
from ._connection.connection import ConnectionStatistics, WebSocketConnection
from ._errors import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    HandshakeTimeout,
    InvalidURL,
    LocalHandshakeError,
    LocalProtocolError,
    RemoteHandshakeError,
    RemoteProtocolError,
    WebSocketError,
)
from ._options import Compression, Deflate, Origins, ProcessRequest, ProcessResponse, SelectSubprotocol
from ._server.serve import open_websocket_server, serve_websocket, wrap_server_stream
from ._server.server import Handler, ServerStatistics, WebSocketServer
from ._server.upgrade import Upgrade, receive_upgrade
from ._values import CloseCode, CloseReason, Headers, HeadersLike, Request, Response
from ._version import __version__
from ._wire.frames import accelerated

__all__ = [
    "CloseCode",
    "CloseReason",
    "Compression",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionRejected",
    "ConnectionStatistics",
    "Deflate",
    "Handler",
    "HandshakeError",
    "HandshakeTimeout",
    "Headers",
    "HeadersLike",
    "InvalidURL",
    "LocalHandshakeError",
    "LocalProtocolError",
    "Origins",
    "ProcessRequest",
    "ProcessResponse",
    "RemoteHandshakeError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "SelectSubprotocol",
    "ServerStatistics",
    "Upgrade",
    "WebSocketConnection",
    "WebSocketError",
    "WebSocketServer",
    "__version__",
    "accelerated",
    "connect_websocket",
    "open_websocket",
    "open_websocket_server",
    "receive_upgrade",
    "serve_websocket",
    "wrap_client_stream",
    "wrap_server_stream",
]

for _name in __all__:
    # Tracebacks and docs then say trio_ws.WebSocketConnection, not where it happens to be defined.
    if isinstance(globals()[_name], (type, _FunctionType)):
        globals()[_name].__module__ = __name__
del _name
