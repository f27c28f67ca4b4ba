"""The aiohttp library: `aiohttp_peer client|server DIRECTORY`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
from aiohttp import web

from .control import SUBPROTOCOL, Certificates, obey_in_asyncio, rejected_with


class Peer:
    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.session: aiohttp.ClientSession | None = None
        self.ws: Any = None
        self.accepted: asyncio.Queue[Any] = asyncio.Queue()
        self.received: asyncio.Queue[Any] = asyncio.Queue()
        self.ponged = asyncio.Event()
        self.receiving: asyncio.Task[None]

    async def connect(self, url: str, subprotocols: list[str]) -> dict[str, Any]:
        self.session = self.session or aiohttp.ClientSession()
        context = self.certificates.client_context_for(url)
        try:
            # compress=15 offers permessage-deflate.
            self.ws = await self.session.ws_connect(
                url, protocols=subprotocols, compress=15, autoping=False, ssl=context or True
            )
        except aiohttp.WSServerHandshakeError as exc:
            return {"status": exc.status}
        self.start_receiving()
        return {"subprotocol": self.ws.protocol}

    async def accept(self) -> dict[str, Any]:
        self.ws = await self.accepted.get()
        self.start_receiving()
        return {"subprotocol": self.ws.ws_protocol}

    def start_receiving(self) -> None:
        self.received = asyncio.Queue()
        self.receiving = asyncio.create_task(self.pump(self.ws, self.received))

    async def pump(self, ws: Any, received: asyncio.Queue[Any]) -> None:
        # aiohttp acts on what it receives, pings included, only while somebody receives.
        while True:
            message = await ws.receive()
            if message.type is aiohttp.WSMsgType.PING:
                await ws.pong(message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                self.ponged.set()
            elif message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                received.put_nowait({"message": message.data})
            elif message.type is aiohttp.WSMsgType.CLOSE:
                received.put_nowait({"code": message.data, "reason": message.extra or ""})
                return
            else:
                received.put_nowait({"code": ws.close_code, "reason": ""})
                return

    async def send(self, message: str | bytes) -> None:
        await (self.ws.send_str if isinstance(message, str) else self.ws.send_bytes)(message)

    async def receive(self) -> dict[str, Any]:
        return await self.received.get()

    async def ping(self) -> None:
        self.ponged.clear()
        await self.ws.ping(b"are you there?")
        await self.ponged.wait()

    async def close(self, code: int, reason: str) -> dict[str, Any]:
        if isinstance(self.ws, web.WebSocketResponse):
            # The server's close() gets to see the answer only if nobody else is waiting to receive; the client's
            # takes care of that, and takes a cancelled receive() for the end.
            self.receiving.cancel()
            await asyncio.wait([self.receiving])
        await self.ws.close(code=code, message=reason.encode())
        return {"code": self.ws.close_code, "reason": ""}

    # Servers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        status = rejected_with(request.path)
        if status is not None:
            return web.Response(status=status, text="no\n")
        ws = web.WebSocketResponse(protocols=[SUBPROTOCOL], autoping=False)
        await ws.prepare(request)
        self.accepted.put_nowait(ws)
        await asyncio.Event().wait()  # returning would close it
        return ws

    async def listen(self, scheme: str) -> int:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        context = self.certificates.server_context() if scheme == "wss" else None
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return runner.addresses[0][1]


if __name__ == "__main__":
    role, directory = sys.argv[1:]
    peer = Peer(Certificates(directory))
    obey_in_asyncio(peer, peer.listen if role == "server" else None)
