"""trio-websocket."""

from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from .settings import MAX_SIZE, Settings, announce, read_settings

everyone: set[WebSocketConnection] = set()


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except ConnectionClosed:
        pass


async def fan_out(request: WebSocketRequest) -> None:
    ws = await request.accept()
    everyone.add(ws)
    try:
        while True:
            message = await ws.get_message()
            for connection in tuple(everyone):
                await connection.send_message(message)
    except ConnectionClosed:
        everyone.remove(ws)


async def main(settings: Settings) -> None:
    # trio-websocket sends no pings unless it is told to, and knows no compression.
    async def listen(task_status: trio.TaskStatus[Any]) -> None:
        handler = fan_out if settings.fanout else echo
        await serve_websocket(handler, "127.0.0.1", 0, None, max_message_size=MAX_SIZE, task_status=task_status)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(listen)
        announce(server.port)


if __name__ == "__main__":
    trio.run(main, read_settings())
