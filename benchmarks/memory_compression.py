"""``python -m benchmarks.memory_compression BITS LEVEL TAKEOVER CONNECTIONS LENGTH``: what compression takes, in KiB.

This process grows while it makes connections and each of them sends and receives a whole conversation. What zlib asks
for and never touches costs nothing, and is not counted. It has to be a fresh process that imports little: what others
have left free would be used again, and seem to cost nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from trio_ws import Deflate
from trio_ws._wire.deflate import deflate_agreed_in
from trio_ws._wire.protocol import Protocol, Role

from .memory_corpus import SUBJECTS, conversation
from .process import PAGE, Program

__all__ = ["OFF", "Setting", "memory_kib", "protocol"]

MAX_SIZE = 2**20
#: Connections that come first and are not counted: they find what making the messages has left free.
WARM_UP = 20


class Setting(NamedTuple):
    """How both directions of a connection are compressed; a window of 0 bits is not at all."""

    window_bits: int
    mem_level: int
    takeover: bool = True

    def __str__(self) -> str:
        if not self.window_bits:
            return "off"
        afresh = "" if self.takeover else ", no context takeover"
        return f"{self.window_bits} bits, level {self.mem_level}{afresh}"


OFF = Setting(0, 0)


def protocol(role: Role, setting: Setting) -> Protocol:
    """One side of a connection whose handshake has agreed on this."""
    answer, settings = [], None
    if setting != OFF:
        bits, afresh = setting.window_bits, not setting.takeover
        settings = Deflate(
            server_max_window_bits=bits,
            client_max_window_bits=bits,
            server_no_context_takeover=afresh,
            client_no_context_takeover=afresh,
            mem_level=setting.mem_level,
        )
        windows = f"server_max_window_bits={bits}; client_max_window_bits={bits}"
        contexts = "; server_no_context_takeover; client_no_context_takeover" if afresh else ""
        answer = [f"permessage-deflate; {windows}{contexts}"]
    deflate = deflate_agreed_in(answer, role, settings, MAX_SIZE)
    return Protocol(role, max_size=MAX_SIZE, max_fragments=1024, deflate=deflate)


def memory_kib(setting: Setting, connections: int, length: int) -> float:
    """What a connection adds to a process that has nothing else to do."""
    arguments = map(str, map(int, (*setting, connections, length)))
    with Program(__name__, *arguments) as program:
        return float(program.read_line())


def main(window_bits: int, mem_level: int, takeover: int, connections: int, length: int) -> None:
    setting = Setting(window_bits, mem_level, bool(takeover))
    spoken = [conversation(subject, length) for subject in SUBJECTS]
    heard = [said_by_a_client(setting, texts) for texts in spoken]
    turns = cycle(zip(spoken, heard, strict=True))
    kept = [used(setting, *turn) for turn in islice(turns, WARM_UP)]
    gc.collect()
    before = resident()
    kept += [used(setting, *turn) for turn in islice(turns, connections)]
    gc.collect()
    print((resident() - before) / connections / 1024)


def said_by_a_client(setting: Setting, texts: Sequence[str]) -> list[bytes]:
    client = protocol("client", setting)
    return [client.message(text) for text in texts]


def used(setting: Setting, spoken: Sequence[str], heard: Sequence[bytes]) -> Protocol:
    """A server's side that has sent and received a conversation."""
    server = protocol("server", setting)
    for text, frame in zip(spoken, heard, strict=True):
        server.feed(frame)
        server.message(text)
    return server


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
