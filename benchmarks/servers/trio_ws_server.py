"""This library."""

import trio

from trio_ws import WebSocketConnection, open_websocket_server

from .settings import MAX_SIZE, Settings, announce, read_settings

everyone: set[WebSocketConnection] = set()


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def fan_out(ws: WebSocketConnection) -> None:
    everyone.add(ws)
    async for message in ws:
        for connection in tuple(everyone):
            await connection.send(message)
    everyone.remove(ws)


async def main(settings: Settings) -> None:
    async with open_websocket_server(
        fan_out if settings.fanout else echo,
        "127.0.0.1",
        0,
        compression="deflate" if settings.deflate else None,
        max_size=MAX_SIZE,
        ping_interval=settings.ping_interval,
    ) as server:
        announce(server.port)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, read_settings())
