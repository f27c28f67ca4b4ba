"""aiohttp."""

import asyncio

from aiohttp import WSMsgType, web

from .settings import MAX_SIZE, Settings, announce, read_settings

everyone: set[web.WebSocketResponse] = set()


async def echo(ws: web.WebSocketResponse) -> None:
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)


async def fan_out(ws: web.WebSocketResponse) -> None:
    everyone.add(ws)
    async for message in ws:
        for connection in tuple(everyone):
            await connection.send_bytes(message.data)
    everyone.remove(ws)


async def main(settings: Settings) -> None:
    # aiohttp sends no pings unless it is told to.
    async def handle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=settings.deflate, max_msg_size=MAX_SIZE)
        await ws.prepare(request)
        await (fan_out if settings.fanout else echo)(ws)
        return ws

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(read_settings()))
