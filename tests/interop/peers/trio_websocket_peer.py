"""The trio-websocket library: `trio_websocket_peer client DIRECTORY`."""

from __future__ import annotations

import sys
from typing import Any

import trio
import trio_websocket

from .control import Certificates, obey, read_line_in_trio


class Peer:
    def __init__(self, certificates: Certificates, nursery: trio.Nursery) -> None:
        self.certificates = certificates
        self.nursery = nursery
        self.ws: Any = None

    async def connect(self, url: str, subprotocols: list[str]) -> dict[str, Any]:
        try:
            self.ws = await self.nursery.start(self.hold, url, subprotocols)
        except trio_websocket.ConnectionRejected as exc:
            return {"status": exc.status_code}
        return {"subprotocol": self.ws.subprotocol}

    async def hold(self, url: str, subprotocols: list[str], task_status: trio.TaskStatus[Any]) -> None:
        context = self.certificates.client_context_for(url)
        async with trio_websocket.open_websocket_url(url, context, subprotocols=subprotocols) as ws:
            task_status.started(ws)
            await trio.sleep_forever()

    async def send(self, message: str | bytes) -> None:
        await self.ws.send_message(message)

    async def receive(self) -> dict[str, Any]:
        try:
            return {"message": await self.ws.get_message()}
        except trio_websocket.ConnectionClosed:
            return self.seen()

    async def ping(self) -> None:
        await self.ws.ping()

    async def close(self, code: int, reason: str) -> dict[str, Any]:
        await self.ws.aclose(code, reason)
        return self.seen()

    def seen(self) -> dict[str, Any]:
        return {"code": self.ws.closed.code, "reason": self.ws.closed.reason or ""}


async def main(role: str, directory: str) -> None:
    async with trio.open_nursery() as nursery:
        await obey(Peer(Certificates(directory), nursery), read_line_in_trio, {})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
