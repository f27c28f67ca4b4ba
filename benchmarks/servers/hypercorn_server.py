"""hypercorn on Trio, with an ASGI application."""

from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from .settings import MAX_SIZE, Settings, announce, read_settings

everyone: set[Any] = set()


async def application(settings: Settings, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError("there is nothing to do when the server starts or ends")
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    everyone.add(send)
    while (event := await receive())["type"] == "websocket.receive":
        message = {"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")}
        for receiver in tuple(everyone) if settings.fanout else (send,):
            await receiver(message)
    everyone.remove(send)


async def main(settings: Settings) -> None:
    # hypercorn sends no pings unless it is told to.
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None  # its stdout is where the port is announced
    config.websocket_max_message_size = MAX_SIZE
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(partial(serve, partial(application, settings), config, mode="asgi"))
        announce(int(binds[0].rpartition(":")[2]))


if __name__ == "__main__":
    trio.run(main, read_settings())
