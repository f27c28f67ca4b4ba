"""A health check for a load balancer, on the port of the WebSocket itself.

Type::

    python examples/health_check.py --port 8765
    curl -i http://127.0.0.1:8765/healthz

and see how many connections are open. Every other path is for WebSockets.
"""

from __future__ import annotations

import argparse
import json

import attrs
import trio

from trio_ws import Request, Response, WebSocketConnection, WebSocketServer, serve_websocket


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def main(host: str, port: int) -> None:
    server: WebSocketServer

    def health(request: Request) -> Response | None:
        if request.path != "/healthz":
            return None
        statistics = attrs.asdict(server.statistics())
        return Response(200, json.dumps(statistics), {"Content-Type": "application/json", "Cache-Control": "no-store"})

    async def serve(task_status: trio.TaskStatus[WebSocketServer]) -> None:
        await serve_websocket(echo, host, port, process_request=health, task_status=task_status)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        print(f"listening on http://{host}:{server.port}/healthz", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server with a health check.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0 for any that is free")
    options = parser.parse_args()
    trio.run(main, options.host, options.port)
