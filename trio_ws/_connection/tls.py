"""TLS around a stream, either role (RFC 8446), by Trio's own ``SSLStream``."""

from __future__ import annotations

import ssl

import trio

from .._errors import HandshakeError

__all__ = ["start_tls"]


async def start_tls(
    stream: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool, host: str | None = None
) -> trio.SSLStream[trio.abc.Stream]:
    """Do the TLS handshake now: Trio would put it off to the first read, out of reach of the caller's deadline.

    Args:
        host: The name that the server's certificate must hold, also sent as SNI. Clients only.

    Raises:
        HandshakeError: The TLS handshake failed, or another protocol than HTTP/1.1 was agreed on. The stream is
            of no use any longer, but still the caller's to close.
    """
    tls = trio.SSLStream(stream, context, server_hostname=host, server_side=server_side)
    try:
        await tls.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError) as exc:
        raise HandshakeError(f"TLS handshake failed: {exc.__cause__ or exc}") from exc.__cause__ or exc
    protocol = tls.selected_alpn_protocol()
    if protocol not in (None, "http/1.1"):
        raise HandshakeError(f"TLS: the peers agreed on ALPN protocol {protocol!r}, WebSocket needs 'http/1.1'")
    return tls
