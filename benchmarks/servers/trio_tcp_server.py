"""Trio's streams without WebSocket: every byte goes back as it came. The yardstick for what a library adds."""

from functools import partial

import trio

from .settings import announce


async def echo(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        announce(listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    trio.run(main)
