"""A chat: the page and the WebSocket on one port.

Type one of these, then open the address it prints in two browser windows::

    trio-ws serve examples.chat:handler --process-request examples.chat:page
    python -m examples.chat --port 8765

What one says, everyone gets. Nobody is held up by a client that reads slowly: each has a bounded outbox and a
task that empties it, and one whose outbox is full is closed with 1008. Ctrl-C or SIGTERM ends it; on SIGTERM the
pages show the goodbye.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

import attrs
import trio

from trio_ws import CloseCode, ConnectionClosed, Request, Response, WebSocketConnection, serve_websocket

PAGE = Path(__file__).with_name("chat.html").read_bytes()
OUTBOX = 100  # messages a client may lag behind
LONGEST_NAME = 24


def page(request: Request) -> Response | None:
    """Answer everything that is not the WebSocket itself; hand this to ``process_request``."""
    if request.path == "/ws":
        return None  # let the opening handshake go on
    if request.path == "/":
        return Response(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
    if request.path == "/healthz":
        return Response(200, f"ok, {len(room)} here\n")
    return Response(404, "There is nothing here.\n")


@attrs.define(eq=False)
class Member:
    name: str
    ws: WebSocketConnection
    outbox: trio.MemorySendChannel[str]
    nursery: trio.Nursery


room: set[Member] = set()


def tell_everyone(**message: str) -> None:
    """Put a message into every outbox. Never waits, so that nobody can hold up the others."""
    text = json.dumps(message)
    for member in list(room):
        try:
            member.outbox.send_nowait(text)
        except trio.BrokenResourceError:
            room.discard(member)  # its connection is gone, its handler is about to end
        except trio.WouldBlock:
            room.discard(member)
            member.nursery.start_soon(member.ws.aclose, CloseCode.POLICY_VIOLATION, "you read too slowly")


async def deliver(ws: WebSocketConnection, mail: trio.MemoryReceiveChannel[str]) -> None:
    async with mail:
        try:
            async for text in mail:
                await ws.send(text)
        except ConnectionClosed:
            pass  # the handler hears it too


def clean_name(name: str, ws: WebSocketConnection) -> str:
    """A name as others may see it. JSON and the page's ``textContent`` do the escaping."""
    printable = "".join(char for char in name if char.isprintable())
    return " ".join(printable.split())[:LONGEST_NAME].strip() or f"guest-{ws.id[:4]}"


async def handler(ws: WebSocketConnection) -> None:
    """One client, from joining to leaving: ``/ws?name=Ada``."""
    asked_for = parse_qs(ws.request.query).get("name", [""])[0]
    outbox, mail = trio.open_memory_channel[str](OUTBOX)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver, ws, mail)
        member = Member(clean_name(asked_for, ws), ws, outbox, nursery)
        room.add(member)
        outbox.send_nowait(json.dumps({"kind": "welcome", "name": member.name, "id": ws.id}))
        tell_everyone(kind="join", name=member.name)
        try:
            await listen(ws, member)
        finally:
            room.discard(member)
            outbox.close()  # deliver() ends when it is empty, or when the connection is closed
            tell_everyone(kind="leave", name=member.name)


async def listen(ws: WebSocketConnection, member: Member) -> None:
    async for text in ws:
        if isinstance(text, bytes):
            await ws.aclose(CloseCode.UNSUPPORTED_DATA, "text only")
        elif text.startswith("/name "):
            before, member.name = member.name, clean_name(text.removeprefix("/name "), ws)
            tell_everyone(kind="rename", name=before, to=member.name, id=ws.id)
        elif text.strip():
            tell_everyone(kind="say", name=member.name, text=text, id=ws.id)


async def main(host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(serve_websocket, handler, host, port, process_request=page, max_size=4096)
        server = await nursery.start(serve)
        print(f"listening on http://{host}:{server.port}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat with its page.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0 for any that is free")
    options = parser.parse_args()
    trio.run(main, options.host, options.port)
