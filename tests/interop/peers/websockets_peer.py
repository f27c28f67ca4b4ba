"""The websockets library, each of its flavours: `websockets_peer asyncio|sync|trio client|server DIRECTORY`."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import math
import os
import queue
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .control import (
    SCHEMES,
    Certificates,
    choose_subprotocol,
    obey,
    obey_in_asyncio,
    read_line_in_trio,
    rejected_with,
)


async def settle(value: Any) -> Any:
    """The result, whether the flavour gives it at once or to be awaited."""
    return await value if inspect.isawaitable(value) else value


class Peer:
    """What the flavours have in common, which is nearly everything."""

    close_method = "close"

    def __init__(self, flavour: str, certificates: Certificates, put: Callable[..., Any], get: Callable[..., Any]):
        self.client = importlib.import_module(f"websockets.{flavour}.client")
        self.serve = importlib.import_module(f"websockets.{flavour}.server").serve
        self.certificates = certificates
        self.put, self.get = put, get  # the connections that a server has accepted
        self.ws: Any = None

    async def connect(self, url: str, subprotocols: list[str]) -> dict[str, Any]:
        context = self.certificates.client_context_for(url)
        try:
            self.ws = await settle(self.open(url, ssl=context, subprotocols=subprotocols or None, proxy=None))
        except InvalidStatus as exc:
            return {"status": exc.response.status_code}
        return {"subprotocol": self.ws.subprotocol}

    def open(self, url: str, **options: Any) -> Any:
        return self.client.connect(url, **options)

    async def accept(self) -> dict[str, Any]:
        self.ws = await settle(self.get())
        return {"subprotocol": self.ws.subprotocol}

    async def send(self, message: str | bytes) -> None:
        await settle(self.ws.send(message))

    async def send_fragments(self, messages: list[str | bytes]) -> None:
        await settle(self.ws.send(messages))

    async def receive(self) -> dict[str, Any]:
        try:
            return {"message": await settle(self.ws.recv())}
        except ConnectionClosed:
            return self.seen()

    async def ping(self) -> None:
        pong = await settle(self.ws.ping())
        await settle(pong.wait() if hasattr(pong, "wait") else pong)

    async def close(self, code: int, reason: str) -> dict[str, Any]:
        await settle(getattr(self.ws, self.close_method)(code, reason))
        return self.seen()

    def seen(self) -> dict[str, Any]:
        return {"code": self.ws.close_code, "reason": self.ws.close_reason}

    # Servers

    def server_options(self, scheme: str) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": 0,
            "ssl": self.certificates.server_context() if scheme == "wss" else None,
            "process_request": self.process_request,
            "select_subprotocol": lambda connection, offered: choose_subprotocol(offered),
        }

    def process_request(self, connection: Any, request: Any) -> Any:
        status = rejected_with(request.path)
        return None if status is None else connection.respond(HTTPStatus(status), "no\n")

    async def handle(self, ws: Any) -> None:
        self.put(ws)
        await ws.wait_closed()


def in_asyncio(role: str, certificates: Certificates) -> None:
    accepted: asyncio.Queue[Any] = asyncio.Queue()
    peer = Peer("asyncio", certificates, accepted.put_nowait, accepted.get)

    async def listen(scheme: str) -> int:
        server = await peer.serve(peer.handle, **peer.server_options(scheme))
        return server.sockets[0].getsockname()[1]

    obey_in_asyncio(peer, listen if role == "server" else None)


def in_threads(role: str, certificates: Certificates) -> None:
    accepted: queue.SimpleQueue[Any] = queue.SimpleQueue()
    peer = Peer("sync", certificates, accepted.put, accepted.get)

    def handle(ws: Any) -> None:
        peer.put(ws)
        threading.Event().wait()  # returning would close it

    def listen(scheme: str) -> int:
        server = peer.serve(handle, **peer.server_options(scheme))
        threading.Thread(target=server.serve_forever).start()
        return server.socket.getsockname()[1]

    async def read_line() -> str:
        return sys.stdin.readline()

    ports = {scheme: listen(scheme) for scheme in SCHEMES} if role == "server" else {}
    asyncio.run(obey(peer, read_line, ports))
    os._exit(0)  # there are threads that wait for connections


class TrioPeer(Peer):
    close_method = "aclose"

    def __init__(self, certificates: Certificates, nursery: trio.Nursery):
        sender, receiver = trio.open_memory_channel[Any](math.inf)
        super().__init__("trio", certificates, sender.send_nowait, receiver.receive)
        self.nursery = nursery

    def open(self, url: str, **options: Any) -> Any:
        return self.client.connect(url, **options).connect(self.nursery)

    async def listen(self, scheme: str) -> int:
        def serve(task_status: trio.TaskStatus[Any]) -> Any:
            return self.serve(self.handle, **self.server_options(scheme), task_status=task_status)

        server = await self.nursery.start(serve)
        return server.listeners[0].socket.getsockname()[1]


async def in_trio(role: str, certificates: Certificates) -> None:
    async with trio.open_nursery() as nursery:
        peer = TrioPeer(certificates, nursery)
        ports = {scheme: await peer.listen(scheme) for scheme in SCHEMES} if role == "server" else {}
        await obey(peer, read_line_in_trio, ports)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    flavour, role, directory = sys.argv[1:]
    if flavour == "trio":
        trio.run(in_trio, role, Certificates(directory))
    else:
        {"asyncio": in_asyncio, "sync": in_threads}[flavour](role, Certificates(directory))
