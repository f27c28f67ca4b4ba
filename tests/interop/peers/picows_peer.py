"""The picows library: `picows_peer client DIRECTORY`. It shows its user frames, not messages."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import picows
from picows import WSMsgType

from .control import Certificates, obey_in_asyncio


class Listener(picows.WSListener):
    def __init__(self) -> None:
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.ponged = asyncio.Event()
        self.closed: dict[str, Any] = {"code": 1006, "reason": ""}
        self.pieces: list[bytes] = []
        self.kind = WSMsgType.TEXT

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == WSMsgType.PONG:
            self.ponged.set()
        elif frame.msg_type == WSMsgType.CLOSE:
            self.closed = {"code": int(frame.get_close_code()), "reason": frame.get_close_reason() or ""}
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            if frame.msg_type != WSMsgType.CONTINUATION:
                self.kind = frame.msg_type
            self.pieces.append(frame.get_payload_as_bytes())
            if frame.fin:
                message = b"".join(self.pieces)
                self.pieces = []
                self.received.put_nowait({"message": message.decode() if self.kind == WSMsgType.TEXT else message})

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.received.put_nowait(self.closed)


class Peer:
    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.transport: Any = None
        self.listener: Any = None

    async def connect(self, url: str, subprotocols: list[str]) -> dict[str, Any]:
        offer = {"Sec-WebSocket-Protocol": ", ".join(subprotocols)} if subprotocols else None
        context = self.certificates.client_context_for(url)
        try:
            self.transport, self.listener = await picows.ws_connect(
                Listener, url, ssl_context=context, extra_headers=offer
            )
        except picows.WSInvalidStatusError as exc:
            return {"status": exc.response.status}
        return {"subprotocol": self.transport.response.headers.get("Sec-WebSocket-Protocol")}

    async def send(self, message: str | bytes) -> None:
        self.send_frame(kind_of(message), message)

    async def send_fragments(self, messages: list[str | bytes]) -> None:
        kind, last = kind_of(messages[0]), len(messages) - 1
        for index, message in enumerate(messages):
            self.send_frame(WSMsgType.CONTINUATION if index else kind, message, fin=index == last)

    def send_frame(self, kind: WSMsgType, message: str | bytes, *, fin: bool = True) -> None:
        self.transport.send(kind, message.encode() if isinstance(message, str) else message, fin)

    async def receive(self) -> dict[str, Any]:
        return await self.listener.received.get()

    async def ping(self) -> None:
        self.listener.ponged.clear()
        self.transport.send_ping(b"are you there?")
        await self.listener.ponged.wait()

    async def close(self, code: int, reason: str) -> dict[str, Any]:
        self.transport.send_close(code, reason.encode())
        await self.transport.wait_disconnected()
        return self.listener.closed


def kind_of(message: str | bytes) -> WSMsgType:
    return WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY


if __name__ == "__main__":
    role, directory = sys.argv[1:]
    obey_in_asyncio(Peer(Certificates(directory)))
