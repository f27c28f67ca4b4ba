"""The ``trio-ws`` command: serve a handler of yours without writing a program around it."""

from __future__ import annotations

import argparse
import importlib
import logging
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any

import trio

import trio_ws

__all__ = ["main"]


def _load(name: str) -> Callable[..., Any]:
    """The object that ``package.module:attribute`` names."""
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise argparse.ArgumentTypeError(f"{name!r} is not of the form MODULE:NAME")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # Only a module that is not there is a wrong argument; one that fails inside is the user's to see.
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise
        raise argparse.ArgumentTypeError(f"there is no module {module_name!r}") from None
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise argparse.ArgumentTypeError(f"module {module_name!r} has no {attribute!r}") from None
    if not callable(found):
        raise argparse.ArgumentTypeError(f"{name!r} is not callable")
    return found  # type: ignore[no-any-return]


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 0 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trio-ws", description="WebSockets on Trio.")
    version = f"trio-ws {trio_ws.__version__} ({'with' if trio_ws.accelerated else 'without'} C extension)"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve", help="run a WebSocket server", description="Run a WebSocket server until SIGTERM or Ctrl-C."
    )
    serve.add_argument("handler", type=_load, metavar="MODULE:HANDLER", help="async def handler(ws)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8765, help="TCP port, 0 for any (default: %(default)s)")
    serve.add_argument("--tls-cert", metavar="FILE", help="PEM file with the certificate and its chain")
    serve.add_argument("--tls-key", metavar="FILE", help="PEM file with the key, if not in the same file")
    serve.add_argument(
        "--process-request",
        type=_load,
        metavar="MODULE:FUNCTION",
        help="called with every request; returns a Response to answer with, or None",
    )
    serve.add_argument(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="how much to log to standard error (default: %(default)s)",
    )
    return parser


def _ssl_context(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise ValueError("--tls-key needs --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"--tls-cert, --tls-key: {exc}") from exc
    return context


async def _serve(options: argparse.Namespace, ssl_context: ssl.SSLContext | None) -> None:
    listeners = await trio.open_tcp_listeners(options.port, host=options.host)
    scheme = "http" if ssl_context is None else "https"
    for listener in listeners:
        host, port, *_ = listener.socket.getsockname()
        print(f"listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
    await trio_ws.serve_websocket(
        options.handler,
        listeners=listeners,
        ssl_context=ssl_context,
        process_request=options.process_request,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``trio-ws`` command; ``arguments`` are those of the process by default.

    Exit status 0 after SIGTERM, 130 after Ctrl-C, 2 for arguments that make no sense or a port that is taken.
    """
    sys.path.insert(0, "")  # as ``python -m`` does, so that a module in the current directory is found
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        ssl_context = _ssl_context(options.tls_cert, options.tls_key)
    except ValueError as exc:
        parser.error(str(exc))
    try:
        trio.run(_serve, options, ssl_context)
    except OSError as exc:
        print(f"trio-ws: cannot listen on {options.host} port {options.port}: {exc}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
