"""A program under test: a process of its own, what it has used of the processor, and how much memory it holds."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Self

from .servers.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = os.sysconf("SC_PAGE_SIZE")
PROCESSORS = sorted(os.sched_getaffinity(0))


class Program:
    """Runs ``python -m MODULE`` until the block ends. It says what it has to say in lines on stdout."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.command = [sys.executable, "-m", module, *arguments]

    def __enter__(self) -> Self:
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=self.log)
        pin(self.process.pid, last=True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def read_line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{' '.join(self.command[1:])} has ended:\n{self.log.read().decode(errors='replace')}")
        return line.decode()

    def cpu(self) -> int:
        """Nanoseconds on a processor, in user and kernel mode, of all threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def rss(self) -> int:
        """Bytes resident."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def settle(self, seconds: float = 0.02) -> None:
        """Wait until it has nothing left to do: for so long it used less than a hundredth of the time."""
        before = self.cpu()
        while True:
            time.sleep(seconds)
            now = self.cpu()
            if now - before < seconds * 1e7:
                return
            before = now


class Server(Program):
    """One of ``benchmarks.servers``."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(f"benchmarks.servers.{name}_server", *settings.arguments())
        # A bare TCP server echoes bytes and knows nothing of WebSocket.
        self.raw = name == "trio_tcp"

    @cached_property
    def port(self) -> int:
        return int(self.read_line())


def pin(pid: int, *, last: bool) -> None:
    """Keep a process on one processor: the servers on the last, the load generator on the first.

    Otherwise the scheduler has both on the same one in some runs and moves them about in others, and what a message
    costs is one figure or twice that.
    """
    os.sched_setaffinity(pid, {PROCESSORS[-1] if last else PROCESSORS[0]})


def allow_files() -> None:
    """Raise the limit of open files as far as this user may, for this process and those it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
