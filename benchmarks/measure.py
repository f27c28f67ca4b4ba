"""How each kind of figure is taken."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

from . import corpus, frames
from .connecting import connect, hang_up, open_and_close
from .conversation import Compressed, Conversation, Repeated
from .load import FanOut, Load, Sample
from .process import Program, Server
from .raw_echo import echo_until_closed
from .servers.settings import Settings

#: What was found, by the name of the figure.
Figures = dict[str, float]
#: Ask for some figures of a server that runs.
MeasureServer = Callable[[Server, float], Figures]
#: Ask for some figures of a program that has yet to be started, by its name.
MeasureProgram = Callable[[str, float], Figures]

#: What goes before the part that is measured, as a share of it.
WARM_UP = 0.25
#: The message that is echoed unless something else is said.
SMALL = frames.payload_of(64)


def echoes(size: int, *, clients: int = 1, in_flight: int = 1, fragments: int = 1) -> MeasureServer:
    """Messages that come in and go out again."""
    payload = frames.payload_of(size)
    outgoing = frames.fragmented(frames.BINARY, payload, fragments) * in_flight
    reply = frames.frame(frames.BINARY, payload, mask=False) * in_flight

    def measure(server: Server, seconds: float) -> Figures:
        with connections(server, clients) as socks:
            return steady(server, load(socks, lambda: talk(server, outgoing, reply, in_flight)).run, seconds)

    return measure


def compressed_echoes(in_flight: int) -> MeasureServer:
    """The same with texts that are compressed, both ways."""
    texts = corpus.documents(64 * 16)
    outgoing = corpus.compressed_frames(texts)

    def measure(server: Server, seconds: float) -> Figures:
        with connections(server, 1, deflate=True) as socks:
            return steady(server, load(socks, lambda: Compressed(texts, outgoing, in_flight)).run, seconds)

    return measure


def fan_out(listeners: int) -> MeasureServer:
    """One message in, and out to everybody."""
    outgoing, reply = (frames.frame(frames.BINARY, SMALL, mask=mask) for mask in (True, False))

    def measure(server: Server, seconds: float) -> Figures:
        with connections(server, listeners) as socks:
            server.settle()  # all the handlers have begun
            return steady(server, FanOut(socks, [Repeated(outgoing, reply, 1) for _ in socks]).run, seconds)

    return measure


def handshakes(server: Server, seconds: float) -> Figures:
    """Connections that come and go."""

    def run(seconds: float) -> Sample:
        latencies = open_and_close(server.port, seconds)
        return Sample(len(latencies), sum(latencies) / 1e9, latencies)

    return steady(server, run, seconds)


def memory(count: int, settings: Settings, *, used: bool = False) -> MeasureProgram:
    """What a connection adds to the memory of the server; ``used`` ones have echoed one message."""
    texts = corpus.documents(1)
    outgoing = corpus.compressed_frames(texts)

    def measure(name: str, seconds: float) -> Figures:
        with Server(name, settings) as server:
            # What the first connection loads is not what a connection costs.
            with connections(server, 1, deflate=settings.deflate) as socks:
                if used:
                    load(socks, lambda: Compressed(texts, outgoing, 1)).run(0)
            server.settle(0.5)
            before = server.rss()
            with connections(server, count, deflate=settings.deflate) as socks:
                if used:
                    load(socks, lambda: Compressed(texts, outgoing, 1)).run(0)
                server.settle(0.5)
                return {"kib": (server.rss() - before) / count / 1024}

    return measure


def crowd(talking: int, count: int, settings: Settings) -> MeasureProgram:
    """Some that talk, at first alone and then among many that do not."""
    outgoing, reply = (frames.frame(frames.BINARY, SMALL, mask=mask) for mask in (True, False))

    def measure(name: str, seconds: float) -> Figures:
        with Server(name, settings) as server, connections(server, talking) as socks:
            run = load(socks, lambda: talk(server, outgoing, reply, 1)).run
            run(seconds)  # the program is new, and slow at first
            alone = steady(server, run, seconds)
            with connections(server, count - talking):
                server.settle(0.1)
                among_many = steady(server, run, seconds)
        return among_many | {"alone_us": alone["cpu_us"]}

    return measure


def client(name: str, seconds: float) -> Figures:
    """A client program that talks to a server which is next to nothing; it reports its own CPU time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        module = f"benchmarks.clients.{name}_client"
        with Program(module, str(port), str(seconds * WARM_UP), str(seconds)) as program:
            echo_until_closed(listener, SMALL)
            report = json.loads(program.read_line())
    return summary(Sample(**report["sample"]), report["cpu_ns"])


@contextmanager
def connections(server: Server, count: int, *, deflate: bool = False) -> Iterator[list[socket.socket]]:
    socks = connect(server.port, count, deflate=deflate, raw=server.raw)
    try:
        yield socks
    finally:
        hang_up(socks, raw=server.raw)
    server.settle()


def load(socks: list[socket.socket], conversation: Callable[[], Conversation]) -> Load:
    return Load(socks, [conversation() for _ in socks])


def talk(server: Server, outgoing: bytes, reply: bytes, messages: int) -> Repeated:
    return Repeated(outgoing, outgoing if server.raw else reply, messages)


def steady(server: Program, run: Callable[[float], Sample], seconds: float) -> Figures:
    """Warm up, then measure between two moments at which nothing is under way."""
    run(seconds * WARM_UP)
    before, own_before = server.cpu(), time.thread_time_ns()
    sample = run(seconds)
    own = time.thread_time_ns() - own_before
    return summary(sample, server.cpu() - before) | {"generator_us": own / sample.messages / 1e3}


def summary(sample: Sample, cpu: int) -> Figures:
    latencies = sample.latencies
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    return {
        "cpu_us": cpu / sample.messages / 1e3,
        "p50_us": cuts[49] / 1e3,
        "p99_us": cuts[98] / 1e3,
        "per_second": sample.messages / sample.seconds,
    }
