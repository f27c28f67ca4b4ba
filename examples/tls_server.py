"""An echo server for ``wss``. Try it with tls_client.py.

Type::

    python examples/tls_server.py --cert server.pem --key server.key --port 8765

The certificate file holds the server's certificate and the chain behind it, in PEM.
"""

from __future__ import annotations

import argparse
import ssl
from functools import partial

import trio

from trio_ws import WebSocketConnection, serve_websocket


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def main(host: str, port: int, cert: str, key: str | None) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, echo, host, port, ssl_context=context))
        print(f"listening on wss://{host}:{server.port}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server for wss.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8765, help="0 for any that is free")
    parser.add_argument("--cert", required=True, help="PEM file with the certificate and its chain")
    parser.add_argument("--key", help="PEM file with the key, if not in the same file")
    options = parser.parse_args()
    trio.run(main, options.host, options.port, options.cert, options.key)
