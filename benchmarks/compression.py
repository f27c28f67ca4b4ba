"""``python -m benchmarks.compression``: what each window and memory level of permessage-deflate costs and saves.

It is the library's own protocol that compresses and inflates, without sockets around it. Time is taken in rounds, each
setting in every round. Memory is measured in processes of their own, see ``memory_compression.py``.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from trio_ws import Deflate

from . import memory_page
from .memory_compression import OFF, Setting, memory_kib, protocol
from .memory_corpus import SUBJECTS, conversation
from .process import pin
from .table import number, table

__all__ = ["DEFAULT", "SETTINGS", "Cost", "cost_table", "measure"]

#: Messages of a conversation: enough to fill zlib's buffers, which are twice the largest window.
LENGTH = 500


DEFAULT = Setting(12, Deflate().mem_level)
WINDOWS, LEVELS = range(15, 8, -1), range(8, 1, -1)
SETTINGS = [
    OFF,
    *(Setting(window, level) for window in WINDOWS for level in LEVELS),
    *(Setting(12, level, takeover=False) for level in LEVELS),
]


class Cost(NamedTuple):
    """Of one setting."""

    #: What a connection holds when it has sent and received a conversation.
    memory_kib: float
    #: Bytes of a message on the wire, in per cent of those without compression.
    size_percent: float
    #: CPU time to make the frame of a message, and to read one.
    send_us: float
    receive_us: float


# Time and size


class Exchange(NamedTuple):
    """One conversation that a server has sent and a client has read."""

    messages: int
    wire_bytes: int
    send_ns: int
    receive_ns: int


def exchange(setting: Setting, texts: Sequence[str]) -> Exchange:
    server, client = protocol("server", setting), protocol("client", setting)
    gc.collect()
    began = time.thread_time_ns()
    frames = [server.message(text) for text in texts]
    sent = time.thread_time_ns()
    received = [client.feed(frame) for frame in frames]
    ended = time.thread_time_ns()
    if [message for messages in received for message in messages] != list(texts):
        raise AssertionError(f"{setting}: what was received is not what was sent")
    return Exchange(len(texts), sum(map(len, frames)), sent - began, ended - sent)


def one_round(setting: Setting, length: int) -> Exchange:
    """A conversation about each subject, added up."""
    exchanges = [exchange(setting, conversation(subject, length)) for subject in SUBJECTS]
    return Exchange(*(sum(figures) for figures in zip(*exchanges, strict=True)))


# All of it


def measure(settings: Sequence[Setting], *, rounds: int, connections: int, length: int = LENGTH) -> dict[Setting, Cost]:
    memory = [memory_kib(setting, connections, length) for setting in settings]
    exchanges = [[one_round(setting, length) for setting in settings] for _ in range(rounds)]
    plain = one_round(OFF, length).wire_bytes
    return {
        setting: Cost(
            memory_kib=memory[index],
            size_percent=100 * exchanges[0][index].wire_bytes / plain,
            send_us=median(found[index].send_ns / found[index].messages for found in exchanges) / 1e3,
            receive_us=median(found[index].receive_ns / found[index].messages for found in exchanges) / 1e3,
        )
        for index, setting in enumerate(settings)
    }


def cost_table(costs: dict[Setting, Cost]) -> str:
    """A row for each setting; with each figure, how many times that of the default it is."""
    head = ["", "KiB", "times", "size %", "times", "send µs", "times", "receive µs", "times"]
    return table(head, [row(setting, cost, costs) for setting, cost in costs.items()])


def row(setting: Setting, cost: Cost, costs: dict[Setting, Cost]) -> list[str]:
    name = f"**{setting}**" if setting.takeover and unbeaten(cost, costs.values()) else str(setting)
    if setting == DEFAULT:
        name += " (default)"
    pairs = zip(cost, costs[DEFAULT], strict=True)
    return [name, *(text for value, default in pairs for text in (number(value), f"{value / default:.2f}"))]


def unbeaten(cost: Cost, others: Iterable[Cost]) -> bool:
    """Whether no other takes less memory for messages as small: to within 2 % of memory and 1 % of size, all noise."""
    return not any(
        other.memory_kib < 0.98 * cost.memory_kib and other.size_percent < 1.01 * cost.size_percent for other in others
    )


def main() -> None:
    parser = memory_page.arguments("compression", __doc__)
    parser.add_argument("--quick", action="store_true", help="one round, few connections: to see that it works")
    args = parser.parse_args()
    pin(os.getpid(), last=True)
    effort = {"rounds": 1, "connections": 20} if args.quick else {"rounds": 7, "connections": 150}
    costs = measure(SETTINGS, **effort)
    figures = [(str(setting), cost._asdict()) for setting, cost in costs.items()]
    memory_page.publish("compression", cost_table(costs), figures, args)


if __name__ == "__main__":
    main()
