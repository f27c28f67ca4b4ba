"""A server that finishes what it has begun, and saves it, when it is told to stop.

Type::

    python examples/graceful_shutdown.py --port 8765 --orders orders.txt

and send it a few lines with any client. Then ``kill -TERM`` it: every client gets 1001, each handler still sees all
that its client sent before that, adds it to the file, and the program ends with status 0.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial

import trio

from trio_ws import ConnectionClosed, WebSocketConnection, serve_websocket


async def take_orders(file: trio.Path, lock: trio.Lock, ws: WebSocketConnection) -> None:
    orders: list[str] = []
    try:
        # On shutdown this still gives what the client sent before it heard of it, and then ends.
        async for order in ws:
            orders.append(str(order))
            # Behind our goodbye nothing can be sent any longer. The order counts all the same.
            with suppress(ConnectionClosed):
                await ws.send(f"{len(orders)} noted")
    finally:
        # Also when the client just vanished, and when shutdown_timeout is over and this is being cancelled:
        # then a shield gives the last step a deadline of its own.
        with trio.move_on_after(3, shield=True):
            await save(file, lock, orders)


async def save(file: trio.Path, lock: trio.Lock, orders: list[str]) -> None:
    async with lock, await file.open("a") as out:
        await out.writelines(f"{order}\n" for order in orders)


async def main(host: str, port: int, file: trio.Path) -> None:
    handler = partial(take_orders, file, trio.Lock())
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, handler, host, port, shutdown_timeout=5))
        print(f"listening on ws://{host}:{server.port}/", flush=True)
    # Here every handler has ended.
    print("all orders are saved")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server that saves its work when it is told to stop.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0 for any that is free")
    parser.add_argument("--orders", type=trio.Path, default=trio.Path("orders.txt"))
    options = parser.parse_args()
    trio.run(main, options.host, options.port, options.orders)
