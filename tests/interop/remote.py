"""The peers that trio_ws is tested against, and how a test talks to one and to trio_ws at the same time."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import trio

import trio_ws

from .peers.control import SUBPROTOCOL, Certificates, decode, encode, rejected_with

ROOT = Path(__file__).parents[2]
NODE = Path(__file__).parent / "node"

#: Seconds for anything at all; a browser on a busy machine needs some of them to start.
TIMEOUT = 30


@attrs.frozen(kw_only=True)
class Peer:
    """Another implementation in one of its roles, and what its API can do besides sending, receiving and closing."""

    name: str
    role: str
    command: Sequence[str]
    #: Programs on PATH, and packages of npm, that it needs.
    needs: Sequence[str] = ()
    #: Send one message in several frames.
    fragments: bool = True
    #: Send a ping and tell when the pong is there.
    pings: bool = True
    #: Choose the code when closing, and tell the code and reason when we close.
    close_codes: bool = True
    #: Answer a close frame with the code that is in it.
    echoes_codes: bool = True
    #: Compress, as a client by offering it.
    deflate: bool = True

    def __str__(self) -> str:
        return f"{self.name}-{self.role}"

    def missing(self) -> str | None:
        """What of that is not on this machine."""
        for need in self.needs:
            if need.startswith("npm:"):
                if not (NODE / "node_modules" / need[4:]).is_dir():
                    return f"{need[4:]} is not installed: run `npm ci` in tests/interop/node"
            elif shutil.which(need) is None:
                return f"there is no program called {need}"
        return None


def python(name: str, *arguments: str) -> Sequence[str]:
    return [sys.executable, "-m", f"tests.interop.peers.{name}", *arguments]


def node(name: str) -> Sequence[str]:
    return ["node", str(NODE / name)]


CLIENTS = [
    Peer(name="websockets.asyncio", role="client", command=python("websockets_peer", "asyncio")),
    Peer(name="websockets.sync", role="client", command=python("websockets_peer", "sync")),
    Peer(name="websockets.trio", role="client", command=python("websockets_peer", "trio")),
    # aiohttp marks every frame as a message's last one, and answers every close frame with 1000.
    Peer(name="aiohttp", role="client", command=python("aiohttp_peer"), fragments=False, echoes_codes=False),
    # picows has no extensions.
    Peer(name="picows", role="client", command=python("picows_peer"), deflate=False),
    # trio-websocket sends whole messages only, and has no extensions.
    Peer(name="trio-websocket", role="client", command=python("trio_websocket_peer"), fragments=False, deflate=False),
    Peer(name="ws", role="client", command=node("ws_peer.mjs"), needs=["node", "npm:ws"]),
    # The API of browsers has no frames and no pings.
    Peer(
        name="chromium",
        role="client",
        command=node("chromium_peer.mjs"),
        needs=["node", "chromium", "npm:playwright-core"],
        fragments=False,
        pings=False,
    ),
]

SERVERS = [
    Peer(name="websockets.asyncio", role="server", command=python("websockets_peer", "asyncio")),
    Peer(name="websockets.sync", role="server", command=python("websockets_peer", "sync")),
    Peer(name="websockets.trio", role="server", command=python("websockets_peer", "trio")),
    Peer(name="aiohttp", role="server", command=python("aiohttp_peer"), fragments=False, echoes_codes=False),
    # ASGI has no frames and no pings, and hypercorn does not tell the application how the client closed.
    Peer(
        name="hypercorn",
        role="server",
        command=python("hypercorn_peer"),
        fragments=False,
        pings=False,
        close_codes=False,
    ),
    Peer(name="ws", role="server", command=node("ws_peer.mjs"), needs=["node", "npm:ws"]),
]


class Remote:
    """A running peer. One serves many tests, one after the other."""

    def __init__(self, peer: Peer, certificates: Certificates, log: Path) -> None:
        self.peer = peer
        self.certificates = certificates
        self.log = log
        #: Whether a test has left it in a state that the next one cannot begin with.
        self.spoilt = False
        # Peers that write their own coverage data would only be slower.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*peer.command, peer.role, str(certificates.directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                env=environment,
            )
        self._ports: dict[str, int] | None = None

    async def started(self) -> dict[str, int]:
        """Wait until the peer is there; return the ports that a server listens on."""
        if self._ports is None:
            self._ports = await self._exchange(None)
        return self._ports

    async def url(self, *, tls: bool = False) -> str:
        """Where a server listens."""
        scheme = "wss" if tls else "ws"
        return url_of(scheme, (await self.started())[scheme])

    async def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        await self.started()
        return await self._exchange(encode({"do": do, **arguments}))

    async def _exchange(self, line: str | None) -> dict[str, Any]:
        spoilt, self.spoilt = self.spoilt, True
        with trio.fail_after(TIMEOUT):
            # If this is given up, the process will be killed, and with it the thread's reason to wait.
            answer = await trio.to_thread.run_sync(self._exchange_in_thread, line, abandon_on_cancel=True)
        assert answer.endswith(b"\n"), f"{self.peer} has ended: {self.log.read_text()}"
        self.spoilt = spoilt
        return decode(answer.decode())

    def _exchange_in_thread(self, line: str | None) -> bytes:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if line is not None:
            try:
                self.process.stdin.write(f"{line}\n".encode())
                self.process.stdin.flush()
            except BrokenPipeError:
                return b""
        return self.process.stdout.readline()

    def end(self) -> None:
        """End the process: by the end of its input, and by force if it was in the middle of something."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.spoilt:
            self.process.kill()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@attrs.frozen
class Pair:
    """Both ends of an open connection."""

    ws: trio_ws.WebSocketConnection
    remote: Remote
    #: What the peer said when the connection opened.
    opened: dict[str, Any]


class Host:
    """Our server, with a handler that leaves the connection to the test."""

    def __init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[trio_ws.WebSocketConnection](math.inf)
        self._leave = trio.Event()
        self._error: Exception | None = None
        self.server: trio_ws.WebSocketServer
        self.url: str

    async def handle(self, ws: trio_ws.WebSocketConnection) -> None:
        self._put.send_nowait(ws)
        await self._leave.wait()
        if self._error is not None:
            raise self._error

    async def connect(self, remote: Remote, *, subprotocols: Sequence[str] = ()) -> Pair:
        """Have the peer open a connection."""
        opened = await remote.call("connect", url=self.url, subprotocols=subprotocols)
        assert "status" not in opened
        return Pair(await self._get.receive(), remote, opened)

    def end_handlers(self, error: Exception | None = None) -> None:
        """Have the handlers return, or raise."""
        self._error = error
        self._leave.set()


def process_request(request: trio_ws.Request) -> trio_ws.Response | None:
    """A page for browsers, and rejections to order."""
    if request.path == "/page":
        return trio_ws.Response(200, "<!doctype html><title>A page</title>", {"Content-Type": "text/html"})
    status = rejected_with(request.path)
    return None if status is None else trio_ws.Response(status, "no\n")


@asynccontextmanager
async def open_host(
    remote: Remote, *, tls: bool = False, compression: trio_ws.Compression = "deflate"
) -> AsyncIterator[Host]:
    """Our server, for a peer that is a client."""
    host = Host()
    context = remote.certificates.server_context() if tls else None
    with trio.fail_after(TIMEOUT):
        async with trio_ws.open_websocket_server(
            host.handle,
            "127.0.0.1",
            0,
            ssl_context=context,
            process_request=process_request,
            subprotocols=[SUBPROTOCOL],
            compression=compression,
        ) as host.server:
            host.url = url_of("wss" if tls else "ws", host.server.port)
            try:
                yield host
            finally:
                host.end_handlers()


def url_of(scheme: str, port: int) -> str:
    # The certificate is for the name, so that the name must have been asked for.
    return f"{scheme}://{'localhost' if scheme == 'wss' else '127.0.0.1'}:{port}"


@asynccontextmanager
async def open_pair(
    remote: Remote,
    *,
    tls: bool = False,
    subprotocols: Sequence[str] = (),
    compression: trio_ws.Compression = "deflate",
) -> AsyncIterator[Pair]:
    """A connection between trio_ws and the peer, whichever of them is the server."""
    spoilt, remote.spoilt = remote.spoilt, True
    if remote.peer.role == "client":
        async with open_host(remote, tls=tls, compression=compression) as host:
            pair = await host.connect(remote, subprotocols=subprotocols)
            yield pair
            host.end_handlers()
            await pair.ws.wait_closed()
    else:
        with trio.fail_after(TIMEOUT):
            url = await remote.url(tls=tls)
            context = remote.certificates.client_context() if tls else None
            async with trio_ws.open_websocket(
                url, ssl_context=context, subprotocols=subprotocols, compression=compression
            ) as ws:
                yield Pair(ws, remote, await remote.call("accept"))
    remote.spoilt = spoilt
