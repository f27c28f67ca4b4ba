"""What the kernel holds for the connections of a server, besides the memory of its process: proc_net_tcp(5)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["Queued", "queued"]

ESTABLISHED = "01"


class Queued(NamedTuple):
    """Bytes of payload. What the kernel takes for them is more, up to twice as much."""

    #: That have come in and were not read.
    received: int
    #: That were written and that the peer has not acknowledged.
    sent: int


def queued(port: int) -> Queued:
    """In all connections of the server that listens on this port of 127.0.0.1."""
    local = f"0100007F:{port:04X}"
    received = sent = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, address, _, state, queues, *_ = line.split()
        if address == local and state == ESTABLISHED:
            tx, rx = (int(queue, 16) for queue in queues.split(":"))
            received, sent = received + rx, sent + tx
    return Queued(received, sent)
