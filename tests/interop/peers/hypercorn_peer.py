"""The hypercorn server on Trio, with an ASGI application: `hypercorn_peer server DIRECTORY`."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from .control import Certificates, choose_subprotocol, obey, read_line_in_trio, rejected_with


class Connection:
    """An ASGI connection: the two functions that the server gives the application."""

    def __init__(self, receive: Any, send: Any, subprotocol: str | None) -> None:
        self.receive, self.send, self.subprotocol = receive, send, subprotocol
        self.closed = trio.Event()


class Peer:
    def __init__(self) -> None:
        self.put_accepted, self.get_accepted = trio.open_memory_channel[Connection](math.inf)
        self.connection: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The application."""
        if scope["type"] != "websocket":
            raise NotImplementedError("there is nothing to do when the server starts or ends")
        await receive()  # websocket.connect
        status = rejected_with(scope["path"])
        if status is not None:
            await send({"type": "websocket.http.response.start", "status": status, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no\n"})
            return
        connection = Connection(receive, send, choose_subprotocol(scope["subprotocols"]))
        await send({"type": "websocket.accept", "subprotocol": connection.subprotocol})
        self.put_accepted.send_nowait(connection)
        await connection.closed.wait()

    async def accept(self) -> dict[str, Any]:
        self.connection = await self.get_accepted.receive()
        return {"subprotocol": self.connection.subprotocol}

    async def send(self, message: str | bytes) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        await self.connection.send({"type": "websocket.send", kind: message})

    async def receive(self) -> dict[str, Any]:
        event = await self.connection.receive()
        if event["type"] == "websocket.receive":
            text = event.get("text")
            return {"message": event["bytes"] if text is None else text}
        return self.ended(event)

    async def close(self, code: int, reason: str) -> dict[str, Any]:
        await self.connection.send({"type": "websocket.close", "code": code, "reason": reason})
        return self.ended(await self.connection.receive())

    def ended(self, event: Any) -> dict[str, Any]:
        self.connection.closed.set()
        return {"code": event["code"], "reason": event.get("reason", "")}


def configure(certificates: Certificates) -> Config:
    config = Config()
    config.bind = config.insecure_bind = ["127.0.0.1:0"]
    config.certfile, config.keyfile = str(certificates.chain), str(certificates.key)
    config.errorlog = None  # its stdout would be ours
    return config


async def main(role: str, directory: str) -> None:
    peer = Peer()
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(partial(serve, peer, configure(Certificates(directory)), mode="asgi"))
        schemes = {"http": "ws", "https": "wss"}
        ports = {schemes[bind.partition(":")[0]]: int(bind.rpartition(":")[2]) for bind in binds}
        await obey(peer, read_line_in_trio, ports)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
