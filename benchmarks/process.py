"""A server under test: a process of its own, what it has used of the processor, and how much memory it holds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from .servers.settings import Settings

PAGE = os.sysconf("SC_PAGE_SIZE")


class Server:
    """Runs one of ``benchmarks.servers`` until the block ends."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings

    def __enter__(self) -> Server:
        command = [sys.executable, "-m", f"benchmarks.servers.{self.name}_server", *self.settings.arguments()]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, cwd=ROOT)
        pin(self.process.pid, last=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    @property
    def port(self) -> int:
        if not hasattr(self, "_port"):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"{self.name} did not start:\n{self.said()}")
            self._port = int(line)
        return self._port

    def said(self) -> str:
        """What it wrote to stderr."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def cpu(self) -> int:
        """Nanoseconds on a processor, in user and kernel mode, of all threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def rss(self) -> int:
        """Bytes resident."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def settle(self) -> None:
        """Wait until it has nothing left to do: less than 1 ms of processor in a tenth of a second."""
        before = self.cpu()
        while True:
            time.sleep(0.1)
            now = self.cpu()
            if now - before < 10**6:
                return
            before = now


ROOT = Path(__file__).parent.parent


def pin(pid: int, *, last: bool) -> None:
    """Keep a process on one processor, the servers on the last and the generator on the first.

    Otherwise the scheduler puts both on the same one in some runs and not in others, which makes two figures of one.
    """
    processors = sorted(os.sched_getaffinity(0) if last else os.sched_getaffinity(pid))
    os.sched_setaffinity(pid, {processors[-1] if last else processors[0]})
