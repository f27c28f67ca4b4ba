"""What the tests of this directory measure: memory and CPU time, of this process or of a server's."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

__all__ = [
    "KIB",
    "LINEAR",
    "MIB",
    "MORE",
    "Heap",
    "Process",
    "cpu_time",
    "heap",
    "in_a_process_of_its_own",
    "time_ratio",
]

_T = TypeVar("_T")
_R = TypeVar("_R")

KIB = 2**10
MIB = 2**20

#: What time it takes is compared with that of so many times the input: work that is linear takes 8 times as long, work
#: that grows with the square 64 times. The bound lies in the middle, for the machine may be busy with other things.
MORE = 8
LINEAR = 22.0

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A process, this one or another, seen through proc(5)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._proc = Path(f"/proc/{pid}")

    def rss(self) -> int:
        """Bytes of memory that it holds now."""
        return int((self._proc / "statm").read_text().split()[1]) * _PAGE

    def forget_peak(self) -> None:
        """From here on :meth:`peak` counts anew."""
        (self._proc / "clear_refs").write_text("5")

    def peak(self) -> int:
        """The most bytes of memory that it has held."""
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmHWM:"))

    def cpu(self) -> float:
        """Seconds of CPU time that it has taken."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def fds(self) -> int:
        """How many file descriptors it has open."""
        return len(list((self._proc / "fd").iterdir()))


def in_a_process_of_its_own(function: Callable[[_T], _R], argument: _T) -> _R:
    """Call the function in a fresh interpreter, whose memory nothing else has used before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, argument).result()


class Heap:
    """What Python has allocated since the block began."""

    def __init__(self) -> None:
        self._base, _ = tracemalloc.get_traced_memory()

    def now(self) -> int:
        """Bytes, without what the garbage collector would free."""
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - self._base

    def peak(self) -> int:
        """Bytes, at the worst moment so far."""
        return tracemalloc.get_traced_memory()[1] - self._base


@contextmanager
def heap() -> Iterator[Heap]:
    """Measure this process's heap in the block. Everything in it takes several times as long."""
    gc.collect()
    tracemalloc.start()
    try:
        yield Heap()
    finally:
        tracemalloc.stop()


def cpu_time(work: Callable[[_T], object], argument: _T) -> float:
    """Seconds of CPU time, to which other programs on the machine add nothing."""
    gc.collect()
    began = time.process_time()
    work(argument)
    return time.process_time() - began


def time_ratio(work: Callable[[_T], object], once: _T, more: _T, *, rounds: int = 5) -> float:
    """How many times the CPU time ``MORE`` times the input takes: the fastest of several rounds of each."""
    pairs = [(cpu_time(work, once), cpu_time(work, more)) for _ in range(rounds)]
    return min(time for _, time in pairs) / min(time for time, _ in pairs)
