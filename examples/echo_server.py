"""A server that sends every message back. Try it with echo_client.py."""

import trio

from trio_ws import WebSocketConnection, serve_websocket


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:  # ends when the peer, or our own shutdown, says goodbye
        await ws.send(message)


if __name__ == "__main__":
    trio.run(serve_websocket, echo, "127.0.0.1", 8765)  # SIGTERM: 1001 to all, bounded wait, exit 0
