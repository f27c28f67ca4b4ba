"""What the load generator asks of a server, and how the server says where it listens."""

from __future__ import annotations

import argparse
from typing import NamedTuple

#: Bytes that a message may have; the largest of the benchmark has 16 MiB.
MAX_SIZE = 2**25
#: Seconds between the keepalive pings of the libraries that send some by default.
PING_INTERVAL = 20


class Settings(NamedTuple):
    #: Send each message to all connections, not only back to its sender.
    fanout: bool
    #: Agree to permessage-deflate, with the library's own defaults.
    deflate: bool
    #: Send keepalive pings, if the library does by default.
    keepalive: bool

    @property
    def ping_interval(self) -> int | None:
        return PING_INTERVAL if self.keepalive else None

    def arguments(self) -> list[str]:
        return [f"--{name}" for name, value in self._asdict().items() if value]


def read_settings() -> Settings:
    parser = argparse.ArgumentParser()
    for name in Settings._fields:
        parser.add_argument(f"--{name}", action="store_true")
    return Settings(**vars(parser.parse_args()))


def announce(port: int) -> None:
    print(port, flush=True)
