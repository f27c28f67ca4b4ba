"""What is measured: each work by its name, and with which servers."""

from __future__ import annotations

from typing import NamedTuple

from .measure import Measure, echoes
from .servers.settings import Settings

SERVERS = (
    "trio_ws",
    "trio_tcp",
    "websockets_trio",
    "trio_websocket",
    "hypercorn",
    "websockets_asyncio",
    "websockets_uvloop",
    "aiohttp",
    "picows",
    "picows_uvloop",
)
PLAIN = Settings(fanout=False, deflate=False, keepalive=False)


class Work(NamedTuple):
    name: str
    title: str
    measure: Measure
    settings: Settings = PLAIN
    servers: tuple[str, ...] = SERVERS


WORKS = {
    work.name: work
    for work in [
        Work("small-1x1", "64 B, 1 client, 1 in flight", echoes(64)),
        Work("small-100x1", "64 B, 100 clients, 1 in flight each", echoes(64, clients=100)),
        Work("small-1x64", "64 B, 1 client, 64 in flight", echoes(64, in_flight=64)),
        Work("kilo-1x64", "1 KiB, 1 client, 64 in flight", echoes(1024, in_flight=64)),
        Work("big-64k", "64 KiB, 1 client, 1 in flight", echoes(2**16)),
        Work("big-1m", "1 MiB, 1 client, 1 in flight", echoes(2**20)),
    ]
}
