"""The language between a test and a peer: one JSON object a line, a command on stdin, its answer on stdout.

A peer is an object whose methods are the commands; each is answered before the next one is read. `node/control.mjs` is
the same for JavaScript. The commands, of which a peer may lack those that its library cannot do:

    connect(url, subprotocols)  a client opens a connection -> {"subprotocol": ...} or {"status": 403}
    accept()                    a server takes the connection that was opened last -> {"subprotocol": ...}
    send(message)               -> {}
    send_fragments(messages)    -> {}
    receive()                   -> {"message": ...}, or how we closed: {"code": ..., "reason": ...}
    ping()                      -> {} when the pong is there
    close(code, reason)         -> how we answered: {"code": ..., "reason": ...}

A text message is a string, a binary one {"hex": ...}. A server says where it listens when it starts:
{"ws": port, "wss": port}. It answers the request for /status/403 with 403, and speaks the subprotocol "chat".
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import trio

SCHEMES = ("ws", "wss")
SUBPROTOCOL = "chat"


async def obey(peer: Any, read_line: Callable[[], Awaitable[str]], ports: dict[str, int]) -> None:
    """Announce the peer, then do what stdin says until it ends."""
    say(ports)
    while line := await read_line():
        command = decode(line)
        say(await getattr(peer, command.pop("do"))(**command) or {})


def obey_in_asyncio(peer: Any, listen: Callable[[str], Awaitable[int]] | None = None) -> None:
    """Run a peer of asyncio. A server gives ``listen(scheme)``, which starts it and returns its port."""

    async def main() -> None:
        ports = {} if listen is None else {scheme: await listen(scheme) for scheme in SCHEMES}
        await obey(peer, partial(asyncio.to_thread, sys.stdin.readline), ports)
        os._exit(0)  # nobody waits for connections that are still open

    asyncio.run(main())


async def read_line_in_trio() -> str:
    return await trio.to_thread.run_sync(sys.stdin.readline)


def say(answer: dict[str, Any]) -> None:
    print(encode(answer), flush=True)


def encode(command: dict[str, Any]) -> str:
    """A command or an answer as a line of JSON."""

    def encode_bytes(value: object) -> dict[str, str]:
        assert isinstance(value, bytes)
        return {"hex": value.hex()}

    return json.dumps(command, default=encode_bytes)


def decode(line: str) -> dict[str, Any]:
    """A line of JSON as the command or answer that it is."""
    return json.loads(line, object_hook=lambda value: bytes.fromhex(value["hex"]) if "hex" in value else value)


class Certificates:
    """The files of a certificate authority and of a server that it vouches for."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.authority = self.directory / "authority.pem"
        self.chain = self.directory / "server.pem"
        self.key = self.directory / "server.key"

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def client_context_for(self, url: str) -> ssl.SSLContext | None:
        return self.client_context() if url.startswith("wss:") else None


def rejected_with(path: str) -> int | None:
    """The status that a server answers a request for this path with, if not 101."""
    _, found, status = path.partition("/status/")
    return int(status) if found else None


def choose_subprotocol(offered: Iterable[str]) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
