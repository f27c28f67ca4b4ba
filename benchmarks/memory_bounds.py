"""``python -m benchmarks.memory_bounds``: connections at each of their limits, and what they hold there.

Each case has a server of its own. What it holds is its resident memory, beyond what it held with the same connections
idle; what the kernel has queued for it is counted apart.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import attrs

from . import corpus, frames, memory_page
from .connecting import connect
from .memory_formula import INFLATED, KIB, MIB, receiving, sending
from .memory_kernel import queued
from .memory_peers import Assembling, Flooding, NotReading, Peers, ReadingOne
from .memory_server import MemoryServer
from .process import Program, allow_files, pin
from .table import number, table

__all__ = ["CASES", "Case", "Held", "bounds_table", "measure"]


#: What zlib takes for a window of 12 bits.
DECOMPRESSOR = 11 * KIB

#: Makes peers out of their sockets and the server.
MakePeers = Callable[[list[socket.socket], Program], Peers]


class Case(NamedTuple):
    """One limit, and who goes there."""

    title: str
    server: MemoryServer
    peers: MakePeers
    #: Bytes for each connection, by the documentation.
    bound: int
    connections: int = 50
    deflate: bool = False


class Held(NamedTuple):
    """KiB for each connection."""

    bound: float
    #: When the limit is reached, and at the worst moment while the peers press on.
    reached: float
    pressed: float
    #: In the kernel's queues, at the end.
    kernel_in: float
    kernel_out: float


def flood(data: str | bytes) -> MakePeers:
    opcode, payload = (frames.TEXT, data.encode()) if isinstance(data, str) else (frames.BINARY, data)
    return partial(Flooding, frame=frames.frame(opcode, payload, mask=True))


def slow(max_size: int, max_queue: int, read_limit: int = 64 * KIB, *, seconds: float = 0.1) -> MemoryServer:
    options = {"max_size": max_size, "max_queue": max_queue, "read_limit": read_limit}
    return MemoryServer(handler="receives_slowly", seconds=seconds, options=options)


def reader(read_limit: int) -> MemoryServer:
    """One that has the next read soon, which is larger than the first one, since more has come in meanwhile."""
    return slow(KIB, 1, read_limit, seconds=0.01)


def sender(write_limit: int, tasks: int) -> MemoryServer:
    return MemoryServer(handler="sends", size=PIECE, tasks=tasks, options={"write_limit": write_limit})


PIECE = 16 * KIB
SMALL_BUFFERS = 16 * KIB
QUEUE, QUEUE_BOUND = slow(64 * KIB, 16), receiving(64 * KIB, 16)
ASSEMBLY = MemoryServer(handler="receives", options={"max_queue": 1})
AHEAD = MemoryServer(handler="sends_ahead", size=PIECE, options={"write_limit": MIB}, buffers=64 * KIB)
MEBIBYTES = partial(Assembling, frame=frames.frame(frames.BINARY, bytes(MIB), mask=True))

CASES = [
    Case("16 messages of 64 KiB in the queue", QUEUE, flood(bytes(64 * KIB)), QUEUE_BOUND),
    Case(
        "the same, kernel buffers of 16 KiB",
        attrs.evolve(QUEUE, buffers=SMALL_BUFFERS),
        flood(bytes(64 * KIB)),
        QUEUE_BOUND,
    ),
    Case(
        "the same, each inflated from under 1 KiB",
        QUEUE,
        partial(Flooding, frame=corpus.compressed_frames([bytes(64 * KIB)])[0]),
        QUEUE_BOUND + INFLATED + DECOMPRESSOR,
        deflate=True,
    ),
    Case(
        "the same, texts with an emoji in each",
        QUEUE,
        flood("x" * (64 * KIB - 4) + "\N{GRINNING FACE}"),
        receiving(64 * KIB, 16, width=4),
    ),
    Case("one message of 1 MiB coming in", ASSEMBLY, MEBIBYTES, receiving(MIB, 0)),
    Case(
        "the same, `MALLOC_MMAP_THRESHOLD_=65536`",
        attrs.evolve(ASSEMBLY, mmap_threshold=64 * KIB),
        MEBIBYTES,
        receiving(MIB, 0),
    ),
    Case(
        "`read_limit` 64 KiB, 1 message of 1 KiB in the queue", reader(64 * KIB), flood(bytes(KIB)), receiving(KIB, 1)
    ),
    Case("the same, `read_limit` 256 KiB", reader(256 * KIB), flood(bytes(KIB)), receiving(KIB, 1, 256 * KIB)),
    Case(
        "the same, `read_limit` 64 KiB, messages of 2 bytes",
        reader(64 * KIB),
        flood(bytes(2)),
        receiving(KIB, 1, size=2),
    ),
    Case("`write_limit` 64 KiB, 16 tasks send", sender(64 * KIB, 16), NotReading, sending(64 * KIB) + PIECE),
    Case(
        "the same, kernel buffers of 16 KiB",
        attrs.evolve(sender(64 * KIB, 16), buffers=SMALL_BUFFERS),
        NotReading,
        sending(64 * KIB) + PIECE,
    ),
    Case("`write_limit` 1 MiB, filled again", AHEAD, ReadingOne, sending(MIB), 5),
]


def measure(case: Case) -> Held:
    with case.server.program() as program:
        port = int(program.read_line())
        connect(port, 1, deflate=case.deflate)[0].close()  # what the first one loads is not what a connection costs
        socks = connect(port, case.connections, deflate=case.deflate)
        before = settled(program)
        peers = case.peers(socks, program)
        peers.fill()
        reached = program.rss() - before
        pressed = max(program.rss() - before for _ in peers.press())
        held = [case.bound * case.connections, reached, pressed, *queued(port)]
        for sock in socks:
            sock.close()
    return Held(*(value / case.connections / KIB for value in held))


def settled(program: Program) -> int:
    program.settle(0.2)
    return program.rss()


def bounds_table(found: Sequence[tuple[str, Held]]) -> str:
    head = ["", "may take KiB", "reached", "pressed", "kernel in", "kernel out"]
    return table(head, [[title, *map(number, held)] for title, held in found])


def main() -> None:
    args = memory_page.arguments("memory_bounds", __doc__).parse_args()
    pin(os.getpid(), last=False)
    allow_files()
    found = [(case.title, measure(case)) for case in CASES]
    memory_page.publish("memory_bounds", bounds_table(found), [(title, held._asdict()) for title, held in found], args)


if __name__ == "__main__":
    main()
