"""Imports go downward only: each room of the package knows the rooms below it and nothing else.

The rooms, from the ground up: errors, values, options, version; the wire; one connection; server and client,
which do not know each other. Outer modules (cli, testing, and whatever comes) use only the public API,
as any user would.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_ws

PACKAGE = Path(trio_ws.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

FLOOR = {
    "_errors": 0,
    "_values": 0,
    "_options": 0,
    "_version": 0,
    "_wire": 1,
    "_connection": 2,
    "_server": 3,
    "_client": 3,
}
# The wire turns bytes into events. It neither waits, nor reads and writes, nor looks at the clock.
NOT_ON_THE_WIRE = {"select", "selectors", "socket", "ssl", "time", "trio"}


def imports(source: str, package: str) -> Iterator[tuple[str, str | None]]:
    """Every import in ``source``, also inside functions, as (absolute module, name imported from it or None).

    Imports for type checkers count too: who needs the type knows the room.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                module = ".".join([*parents, module] if module else parents)
            for alias in node.names:
                yield module, alias.name


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What ``source``, as the text of ``module``, imports against the rules."""
    if module == "trio_ws":  # gathers the public API from all rooms
        return []
    package = module if is_package else module.rpartition(".")[0]
    room = module.split(".")[1]
    check = outer_violation if not room.startswith("_") or room == "__main__" else room_violation
    return [
        f"{module} must not import {target}{f'.{name}' if name else ''}: {why}"
        for target, name in imports(source, package)
        if (why := check(room, target, name))
    ]


def room_violation(room: str, target: str, name: str | None) -> str | None:
    """Why a module in ``room`` may not import this, or None if it may."""
    if room not in FLOOR:
        return "this room has no place in the order of rooms"
    top, _, rest = target.partition(".")
    if top != "trio_ws":
        return "the wire knows no waiting" if room == "_wire" and top in NOT_ON_THE_WIRE else None
    other = (rest or name or "").partition(".")[0]
    if other == room:
        return None
    if other not in FLOOR:
        return "it lies outside the rooms"
    if FLOOR[other] > FLOOR[room]:
        return "it lies above"
    return "server and client do not know each other" if {room, other} == {"_server", "_client"} else None


def outer_violation(room: str, target: str, name: str | None) -> str | None:
    """Why the outer module ``room`` may not import this, or None if it may."""
    top, *path = [*target.split("."), *([name] if name else [])]
    if top != "trio_ws" or path[:1] == [room]:  # what is inside an outer package is its own
        return None
    private = any(part.startswith("_") and part != "__version__" for part in path)
    return "it is not public" if private else None


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(PACKAGE)) for file in FILES])
def test_module_imports_only_what_lies_below_it(file: Path) -> None:
    is_package = file.name == "__init__.py"
    module = ".".join(["trio_ws", *file.relative_to(PACKAGE).with_suffix("").parts])
    if is_package:
        module = module.removesuffix(".__init__")
    assert violations(file.read_text(), module, is_package=is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("trio_ws._errors", "from ._wire import frames"),
        ("trio_ws._values", "import trio_ws"),
        ("trio_ws._options", "from trio_ws import Request"),
        ("trio_ws._wire.protocol", "import trio"),
        ("trio_ws._wire.protocol", "from trio.lowlevel import checkpoint"),
        ("trio_ws._wire.protocol", "import socket"),
        ("trio_ws._wire.protocol", "def now():\n    from time import monotonic"),
        ("trio_ws._wire.protocol", "from .._connection import WebSocketConnection"),
        ("trio_ws._wire.protocol", "if TYPE_CHECKING:\n    from .. import _server"),
        ("trio_ws._connection.session", "from .._server.accept import accept"),
        ("trio_ws._connection.session", "import trio_ws._client"),
        ("trio_ws._connection.session", "from ..testing import open_connection_pair"),
        ("trio_ws._server.accept", "from .._client import open_websocket"),
        ("trio_ws._client.connect", "from trio_ws._server import serve_websocket"),
        ("trio_ws._client.connect", "from ..cli import main"),
        ("trio_ws._new_room", "import math"),
        ("trio_ws.cli", "from ._server import serve_websocket"),
        ("trio_ws.cli", "from trio_ws._values import Request"),
        ("trio_ws.cli", "from trio_ws import _options"),
        ("trio_ws.testing", "import trio_ws._connection.session as session"),
        ("trio_ws.__main__", "from . import _client"),
        ("trio_ws.pubsub.local", "from .._connection import WebSocketConnection"),
    ],
)
def test_import_against_the_rules_is_found(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("trio_ws", "from ._server import serve_websocket"),
        ("trio_ws._errors", "import trio"),
        ("trio_ws._errors", "from ._values import Response"),
        ("trio_ws._wire.protocol", "import wsproto\nfrom .._errors import LocalProtocolError"),
        ("trio_ws._wire.protocol", "from . import limits\nfrom .limits import Limits"),
        ("trio_ws._wire.protocol", "import trio_ws._wire.limits"),
        ("trio_ws._connection.session", "import trio\nfrom .._wire.protocol import Protocol"),
        ("trio_ws._server.accept", "import socket\nfrom .. import _connection, _values"),
        ("trio_ws._client.connect", "from .._options import ConnectionOptions"),
        ("trio_ws.cli", "import ssl\nimport trio\nfrom . import serve_websocket\nimport trio_ws"),
        ("trio_ws.__main__", "from .cli import main"),
        ("trio_ws.pubsub.local", "from ._topics import Topic\nfrom trio_ws import WebSocketConnection"),
    ],
)
def test_import_within_the_rules_is_allowed(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_relative_import_in_a_package_counts_from_the_package_itself() -> None:
    assert violations("from ._server import serve_websocket", "trio_ws._wire", is_package=True) == []
    assert len(violations("from .._server import serve_websocket", "trio_ws._wire", is_package=True)) == 1
