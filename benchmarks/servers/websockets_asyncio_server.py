"""websockets.asyncio, on the event loop of asyncio."""

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast, serve

from .settings import MAX_SIZE, Settings, announce, read_settings

everyone: set[ServerConnection] = set()


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def fan_out(ws: ServerConnection) -> None:
    everyone.add(ws)
    async for message in ws:
        broadcast(everyone, message)
    everyone.remove(ws)


async def main(settings: Settings) -> None:
    async with serve(
        fan_out if settings.fanout else echo,
        "127.0.0.1",
        0,
        compression="deflate" if settings.deflate else None,
        max_size=MAX_SIZE,
        ping_interval=settings.ping_interval,
    ) as server:
        announce(server.sockets[0].getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(read_settings()))
