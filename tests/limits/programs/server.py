"""A server that is a program of its own, so that what it takes can be measured apart from its clients.

Its arguments are a JSON object of options for ``serve_websocket``. It prints its port. It echoes messages; where the
path is ``/count`` it counts them, and a text asks how many there were. It answers a GET of ``/statistics`` with what it
knows of itself. What it logs goes to stderr.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from typing import Any

import attrs
import trio

from trio_ws import Request, Response, WebSocketConnection, WebSocketServer, serve_websocket


async def handler(ws: WebSocketConnection) -> None:
    counts = ws.request.path == "/count"
    count = 0
    async for message in ws:
        count += 1
        if not counts:
            await ws.send(message)
        elif isinstance(message, str):
            await ws.send(str(count))


async def main(options: dict[str, Any]) -> None:
    def page(request: Request) -> Response | None:
        if request.path != "/statistics":
            return None
        gc.collect()  # what waits to be collected is no leak
        tasks = trio.lowlevel.current_statistics().tasks_living
        return Response(200, json.dumps({"tasks": tasks} | attrs.asdict(server.statistics())))

    async def serve(task_status: trio.TaskStatus[WebSocketServer]) -> None:
        await serve_websocket(handler, "127.0.0.1", 0, process_request=page, task_status=task_status, **options)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        print(server.port, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    trio.run(main, json.loads(sys.argv[1]))
