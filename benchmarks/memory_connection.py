"""``python -m benchmarks.memory_connection``: what a connection adds to the memory of a server, by what it has done."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from . import corpus, frames, memory_page
from .connecting import connect
from .conversation import Compressed, Conversation, Repeated
from .load import Load
from .memory_corpus import conversation
from .memory_formula import GIB, INFLATED, KIB, MIB, receiving, sending
from .memory_server import MemoryServer
from .process import allow_files, pin
from .table import number, table

__all__ = ["STATES", "State", "connection_table", "example_table", "measure"]

#: Messages of a conversation. They fill the default window several times over.
LENGTH = 100
PAYLOAD = frames.payload_of(64)
REPLY = frames.frame(frames.BINARY, PAYLOAD, mask=False)
TEXTS = [text.encode() for text in conversation("chat", LENGTH)]
COMPRESSED = corpus.compressed_frames(TEXTS)


IDLE, USED = "idle, compression agreed on", f"has echoed {LENGTH} compressed messages"
#: How many connections the example on the page has.
EXAMPLE = 20_000
#: Bytes of a client's smallest frame.
TINY = 6


class State(NamedTuple):
    """What connections have agreed on and done."""

    title: str
    compression: bool = False
    #: What each client says and hears, and how often it has its turn.
    says: Callable[[], Conversation] | None = None
    turns: int = 1


def once(frames_of_one: bytes) -> Callable[[], Conversation]:
    return lambda: Repeated(frames_of_one, REPLY, 1)


def compressed_texts() -> Conversation:
    return Compressed(TEXTS, COMPRESSED, 1)


STATES = [
    State("idle, compression off"),
    State(IDLE, compression=True),
    State("has echoed a message", says=once(frames.frame(frames.BINARY, PAYLOAD, mask=True))),
    State("has echoed a message that came in fragments", says=once(frames.fragmented(frames.BINARY, PAYLOAD, 2))),
    State(USED, compression=True, says=compressed_texts, turns=LENGTH),
]


def measure(state: State, connections: int) -> float:
    """KiB for each connection."""
    options = {"compression": "deflate" if state.compression else None, "ping_interval": 20}
    server = MemoryServer(handler="echoes", options=options)
    with server.program() as program:
        port = int(program.read_line())
        kept = opened(port, state, 10)  # what the first ones load is not what a connection costs
        program.settle(0.2)
        before = program.rss()
        kept += opened(port, state, connections)
        program.settle(0.2)
        grown = program.rss() - before
        for sock in kept:
            sock.close()
    return grown / connections / 1024


def opened(port: int, state: State, count: int) -> list[socket.socket]:
    socks = connect(port, count, deflate=state.compression)
    if state.says:
        load = Load(socks, [state.says() for _ in socks])
        for _ in range(state.turns):
            load.run(0)
    return socks


def connection_table(found: dict[str, float]) -> str:
    return table(["a connection that", "KiB"], [[title, number(kib)] for title, kib in found.items()])


def example_table(found: dict[str, float]) -> str:
    """What a machine needs, from what was measured and from the formula."""
    idle, used = found[IDLE], found[USED]
    default = (receiving(MIB, 16, size=TINY) + INFLATED + sending(64 * KIB)) / KIB
    small = (receiving(8 * KIB, 4, 8 * KIB, size=TINY) + INFLATED + sending(8 * KIB)) / KIB
    rows = [
        ("all idle", idle),
        ("all have used compression", used),
        ("all at every limit at once, defaults", used + default),
        ("the same, limits of 8 KiB and `max_queue=4`", used + small),
    ]
    cells = [[title, number(kib), number(kib * EXAMPLE * KIB / GIB)] for title, kib in rows]
    return table([f"{EXAMPLE:,} connections", "KiB each", "GiB"], cells)


def main() -> None:
    parser = memory_page.arguments("memory_connection", __doc__)
    parser.add_argument("--connections", type=int, default=1000, help="how many share what is measured")
    args = parser.parse_args()
    pin(os.getpid(), last=False)
    allow_files()
    found = {state.title: measure(state, args.connections) for state in STATES}
    tables = f"{connection_table(found)}\n\n{example_table(found)}"
    memory_page.publish("memory_connection", tables, found, args)


if __name__ == "__main__":
    main()
