"""How each kind of figure is taken, from one server that is running."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import quantiles

from . import frames
from .load import Burst, Load, connect, hang_up
from .process import Server

Figures = dict[str, float]
Measure = Callable[[Server, float], Figures]

#: The share of the time that goes before the part that is measured.
WARM_UP = 0.25


def is_raw(server: Server) -> bool:
    """Whether it echoes bytes and knows nothing of WebSocket."""
    return server.name == "trio_tcp"


def echoes(size: int, *, clients: int = 1, in_flight: int = 1, fragments: int = 1, idle: int = 0) -> Measure:
    """CPU time for each message that comes in and goes out again."""
    payload = frames.payload_of(size)
    outgoing = frames.fragmented(frames.BINARY, payload, fragments) * in_flight
    reply = frames.frame(frames.BINARY, payload, mask=False) * in_flight

    def measure(server: Server, seconds: float) -> Figures:
        raw = is_raw(server)
        socks = connect(server.port, clients + idle, raw=raw)
        talking = spread(socks, clients)
        try:
            return steady(
                server,
                Load(talking, [Burst(outgoing, outgoing if raw else reply, in_flight) for _ in talking]),
                seconds,
            )
        finally:
            hang_up(socks, raw=raw)

    return measure


def spread(items: Sequence, count: int) -> Sequence:
    """So many of them, evenly."""
    return [items[index * len(items) // count] for index in range(count)]


def steady(server: Server, load: Load, seconds: float) -> Figures:
    """Warm up, then measure between two moments at which nothing is under way."""
    load.run(seconds * WARM_UP)
    server_before, own_before = server.cpu(), time.thread_time_ns()
    sample = load.run(seconds)
    server_after, own_after = server.cpu(), time.thread_time_ns()
    cuts = quantiles(sample.latencies, n=100) if len(sample.latencies) > 1 else sample.latencies * 99
    return {
        "cpu_us": (server_after - server_before) / sample.messages / 1e3,
        "p50_us": cuts[49] / 1e3,
        "p99_us": cuts[98] / 1e3,
        "per_second": sample.messages / sample.seconds,
        "generator_us": (own_after - own_before) / sample.messages / 1e3,
    }
