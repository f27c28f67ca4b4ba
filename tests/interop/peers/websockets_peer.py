"""The websockets library, in each of its three flavours: `websockets_peer asyncio|sync|trio client|server DIRECTORY`."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import queue
import sys
import threading
from functools import partial
from http import HTTPStatus
from typing import Any

import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .control import Certificates, choose_subprotocol, obey, obey_in_asyncio, rejected_with


async def settle(value: Any) -> Any:
    """The result, whether the flavour gives it at once or to be awaited."""
    return await value if inspect.isawaitable(value) else value


class Peer:
    def __init__(self, flavour: str, certificates: Certificates) -> None:
        self.client = importlib.import_module(f"websockets.{flavour}.client")
        self.server = importlib.import_module(f"websockets.{flavour}.server")
        self.certificates = certificates
        self.ws: Any = None
        self.accepted: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.nursery: trio.Nursery | None = None

    async def connect(self, url: str, subprotocols: list[str]) -> dict[str, Any]:
        connecting = self.client.connect(
            url, ssl=self.certificates.client_context_for(url), subprotocols=subprotocols or None, proxy=None
        )
        try:
            self.ws = await settle(connecting.connect(self.nursery) if self.nursery else connecting)
        except InvalidStatus as exc:
            return {"status": exc.response.status_code}
        return {"subprotocol": self.ws.subprotocol}

    async def accept(self) -> dict[str, Any]:
        # Handlers start when the handshake is done, which the other side may know a moment earlier.
        self.ws = self.accepted.get()
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
        await settle((self.ws.aclose if self.nursery else self.ws.close)(code, reason))
        return self.seen()

    def seen(self) -> dict[str, Any]:
        return {"code": self.ws.close_code, "reason": self.ws.close_reason}

    # Servers

    def options(self) -> dict[str, Any]:
        return {
            "process_request": self.process_request,
            "select_subprotocol": lambda ws, offered: choose_subprotocol(offered),
        }

    def process_request(self, connection: Any, request: Any) -> Any:
        status = rejected_with(request.path)
        return None if status is None else connection.respond(HTTPStatus(status), "no\n")

    async def handle(self, ws: Any) -> None:
        self.accepted.put(ws)
        await ws.wait_closed()

    def handle_sync(self, ws: Any) -> None:
        self.accepted.put(ws)
        threading.Event().wait()  # returning would close it
