"""Either side of a connection, and what the peer on the other side may send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from tests import raw
from trio_ws import WebSocketConnection
from trio_ws._wire.protocol import Role


@attrs.frozen
class Side:
    """The side that is ours; its methods make what the peer sends."""

    role: Role

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[tuple[WebSocketConnection, raw.RawPeer]]:
        opened = (raw.raw_client if self.role == "server" else raw.raw_server)(**options)
        # With a clock that jumps, a test that waits for what does not come would go on for ever.
        with trio.fail_after(10_000):
            async with opened as (ws, peer):
                yield ws, peer

    @property
    def peer_masks(self) -> bool:
        """RFC 6455 §5.1: a client masks every frame, a server none."""
        return self.role == "server"

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
        return raw.frame(opcode, payload, fin=fin, rsv=rsv, mask=self.peer_masks)

    def close(self, code: int | None = 1000, reason: bytes = b"") -> bytes:
        return raw.close(code, reason, mask=self.peer_masks)


SERVER, CLIENT = Side("server"), Side("client")

#: Run a test with us as the server and as the client.
EITHER_SIDE = pytest.mark.parametrize("side", [pytest.param(SERVER, id="server"), pytest.param(CLIENT, id="client")])
