"""websockets.trio."""

from typing import Any

import trio
from websockets.trio.connection import broadcast
from websockets.trio.server import ServerConnection, serve

from .settings import MAX_SIZE, Settings, announce, read_settings

everyone: set[ServerConnection] = set()


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def fan_out(ws: ServerConnection) -> None:
    everyone.add(ws)
    async for message in ws:
        await broadcast(everyone, message)
    everyone.remove(ws)


async def main(settings: Settings) -> None:
    async def listen(task_status: trio.TaskStatus[Any]) -> None:
        await serve(
            fan_out if settings.fanout else echo,
            0,
            host="127.0.0.1",
            compression="deflate" if settings.deflate else None,
            max_size=MAX_SIZE,
            ping_interval=settings.ping_interval,
            task_status=task_status,
        )

    async with trio.open_nursery() as nursery:
        server = await nursery.start(listen)
        announce(server.listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    trio.run(main, read_settings())
