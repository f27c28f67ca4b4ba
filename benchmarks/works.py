"""What is measured: each work by its name, and with which libraries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from .measure import client, compressed_echoes, crowd, echoes, fan_out, handshakes, memory
from .process import Server
from .servers.settings import Settings

#: All libraries by the names of their files, and how they are called in tables.
LIBRARIES = {
    "trio_ws": "trio_ws",
    "trio_ws_pure": "trio_ws, pure Python",
    "trio_tcp": "bare Trio TCP",
    "websockets_trio": "websockets.trio",
    "trio_websocket": "trio-websocket",
    "hypercorn": "hypercorn on Trio",
    "websockets_asyncio": "websockets.asyncio",
    "websockets_uvloop": "websockets.asyncio on uvloop",
    "aiohttp": "aiohttp",
    "picows": "picows",
    "picows_uvloop": "picows on uvloop",
}
#: What every library is compared with.
OURS = "trio_ws"
#: The same where there is no compiler.
PURE = "trio_ws_pure"
#: No library, but the least that one on Trio's streams can cost.
YARDSTICK = "trio_tcp"

ALL = tuple(LIBRARIES)
SPEAK_WEBSOCKET = tuple(name for name in ALL if name not in (PURE, YARDSTICK))
COMPRESS = ("trio_ws", "websockets_trio", "websockets_asyncio", "websockets_uvloop", "aiohttp")
CLIENTS = ("trio_ws", "websockets_trio", "websockets_asyncio", "aiohttp")
#: One of each kind, where all of them would take too long.
SOME = ("trio_ws", "trio_tcp", "websockets_trio", "websockets_asyncio", "aiohttp", "picows")

PLAIN = Settings(fanout=False, deflate=False, keepalive=False)
DEFLATE = PLAIN._replace(deflate=True)
# Memory is what users get who set nothing, which includes what keepalive needs.
IDLE = PLAIN._replace(keepalive=True)
IDLE_DEFLATE = DEFLATE._replace(keepalive=True)

CLIENT_COUNTS = (1, 10, 100, 1000, 10_000)
SIZES = tuple(4**power for power in range(3, 13))  # 64 B to 16 MiB
FRAGMENTS = (1, 10, 100, 1000)


class Work(NamedTuple):
    name: str
    title: str
    #: Takes what ``subject`` gives, and seconds.
    measure: Callable[[Any, float], dict[str, float]]
    libraries: tuple[str, ...] = ALL
    #: By a library's name, what is kept running from the first round to the last.
    subject: Callable[[str], AbstractContextManager[Any]] = partial(Server, settings=PLAIN)
    #: The figure that says who is ahead; less is better.
    figure: str = "cpu_us"
    #: Rounds at most: for works that take long and differ little.
    rounds: int = 100
    #: Whether a short run has it.
    quick: bool = False


def size_of(count: int) -> str:
    """Bytes as people say it."""
    for unit in ("B", "KiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} MiB"


compressing = partial(Server, settings=DEFLATE)
broadcasting = partial(Server, settings=PLAIN._replace(fanout=True))

ECHO = [
    Work("small-1x1", "64 B, 1 client, 1 in flight", echoes(64), quick=True),
    Work("small-100x1", "64 B, 100 clients, 1 in flight each", echoes(64, clients=100), quick=True),
    Work("small-1x64", "64 B, 1 client, 64 in flight", echoes(64, in_flight=64), quick=True),
    Work("kilo-1x64", "1 KiB, 1 client, 64 in flight", echoes(1024, in_flight=64), quick=True),
    Work("big-64k", "64 KiB, 1 client, 1 in flight", echoes(2**16), quick=True),
    Work("big-1m", "1 MiB, 1 client, 1 in flight", echoes(2**20), quick=True),
]
COMPRESSED = [
    Work("deflate-1x1", "200 B of JSON, 1 in flight", compressed_echoes(1), COMPRESS, compressing),
    Work("deflate-1x64", "200 B of JSON, 64 in flight", compressed_echoes(64), COMPRESS, compressing, quick=True),
]
CLIENT = Work("client", "64 B sent and received by a client", client, CLIENTS, nullcontext, quick=True)
HANDSHAKES = Work("handshake", "opening and closing handshake", handshakes, SPEAK_WEBSOCKET, quick=True)
FAN_OUT = Work("fan-out", "64 B in, and out to 1,000 clients", fan_out(1000), SPEAK_WEBSOCKET, broadcasting, rounds=3)
MEMORY = [
    Work("memory", "memory of an idle connection", memory(5000, IDLE), SPEAK_WEBSOCKET, nullcontext, "kib", rounds=2),
    Work("memory-deflate", "memory, deflate agreed on", memory(5000, IDLE_DEFLATE), COMPRESS, nullcontext, "kib", 2),
    Work(
        "memory-deflate-used",
        "memory, after one compressed message each way",
        memory(5000, IDLE_DEFLATE, used=True),
        COMPRESS,
        nullcontext,
        "kib",
        rounds=2,
    ),
]
CROWD = Work("crowd", "100 clients talk among 10,000", crowd(100, 10_000, PLAIN), SOME, nullcontext, rounds=2)
BY_CLIENTS = [
    Work(
        f"clients-{count}",
        f"64 B, 1 in flight, clients: {count:,}",
        echoes(64, clients=count),
        SOME,
        rounds=2 if count > 1000 else 3,
    )
    for count in CLIENT_COUNTS
]
BY_SIZE = [
    Work(f"size-{size}", f"{size_of(size)}, 1 client, 1 in flight", echoes(size), SOME, rounds=3) for size in SIZES
]
BY_FRAGMENTS = [
    Work(f"fragments-{count}", f"64 KiB, frames: {count:,}", echoes(2**16, fragments=count), SOME, rounds=3)
    for count in FRAGMENTS
]

WORKS = {
    work.name: work
    for work in [
        *ECHO,
        *COMPRESSED,
        CLIENT,
        HANDSHAKES,
        FAN_OUT,
        *MEMORY,
        CROWD,
        *BY_CLIENTS,
        *BY_SIZE,
        *BY_FRAGMENTS,
    ]
}
