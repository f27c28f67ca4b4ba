"""A client that says hello to tls_server.py, and trusts one certificate authority more than the system does.

Type::

    python examples/tls_client.py wss://localhost:8765/ --ca ca.pem

Without ``--ca`` the system's authorities are asked. The certificate and the name in it are checked either way.
"""

from __future__ import annotations

import argparse
import ssl

import trio

from trio_ws import HandshakeError, open_websocket


async def main(url: str, ca: str | None) -> None:
    context = ssl.create_default_context(cafile=ca)
    try:
        async with open_websocket(url, ssl_context=context) as ws:
            await ws.send("hello")
            print(await ws.receive())
    except HandshakeError as exc:
        raise SystemExit(f"no connection: {exc}") from exc


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A client for wss.")
    parser.add_argument("url", nargs="?", default="wss://localhost:8765/")
    parser.add_argument("--ca", help="PEM file with the certificate of an authority to trust")
    options = parser.parse_args()
    trio.run(main, options.url, options.ca)
