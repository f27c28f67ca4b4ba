"""What an input may cost: steps and memory, both at most linear in the bytes that came from the peer.

A step is a function call, in Python or in C. That is what every loop of the code under test consists of, it is the
same on every machine, and it is cheap to count. It does not see how long one C function takes, such as one that
copies a buffer; the tests of limits look at CPU time for that.

Counting makes a run several times slower, so a fuzzing engine measures only one run in many; what it keeps goes to
the corpus, and there ``test_corpus.py`` measures every one.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Bill", "Budget", "OverBudget", "measure_every", "warm_up"]

_every = 0
_runs = 0
_judging = True


class OverBudget(AssertionError):
    """An input cost more than its length allows."""


def measure_every(runs: int) -> None:
    """Measure one run in so many from now on; 0 for none."""
    global _every
    _every = runs


def warm_up(fuzz_one: Callable[[bytes], None], inputs: Iterable[bytes]) -> None:
    """Run these, measured but not judged: what is made only once, by the measuring as well, counts for no input."""
    global _judging
    _judging = False
    measure_every(1)
    for data in inputs:
        fuzz_one(data)
    measure_every(0)
    _judging = True


class Bill:
    """What the input of one run is, as far as that is known before it, and more of it that comes out in the run.

    Attributes:
        size: Bytes that the code under test works on.
        held: Bytes of heap that it may hold besides, such as a message that was inflated.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0


class Budget:
    """The most that one run of the code under test may cost.

    Args:
        steps: Calls for an input without a byte.
        steps_per_byte: Calls for each byte more.
        memory: Bytes of heap at the peak, beyond what there was before, for an input without a byte.
        memory_per_byte: The same for each byte more.
    """

    def __init__(self, *, steps: int, steps_per_byte: int, memory: int, memory_per_byte: int) -> None:
        self._steps, self._steps_per_byte = steps, steps_per_byte
        self._memory, self._memory_per_byte = memory, memory_per_byte

    @contextmanager
    def spend(self, size: int) -> Iterator[Bill]:
        """Raise :exc:`OverBudget` if the block costs too much for ``size`` bytes from the peer."""
        global _runs
        _runs += 1
        bill = Bill(size)
        if not _every or _runs % _every:
            yield bill
            return
        steps = 0

        def count(frame: FrameType, event: str, function: Any) -> None:
            nonlocal steps
            # The instrumented code calls the fuzzing engine at every branch; that is no step of ours.
            if event == "call" or (event == "c_call" and not str(function.__module__).startswith("atheris.")):
                steps += 1

        tracemalloc.start()
        sys.setprofile(count)
        try:
            yield bill
        finally:
            sys.setprofile(None)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        size = bill.size
        self._check("steps", steps, self._steps + size * self._steps_per_byte, size)
        self._check("bytes of heap", peak, self._memory + size * self._memory_per_byte + bill.held, size)

    @staticmethod
    def _check(what: str, used: int, allowed: int, size: int) -> None:
        if used > allowed and _judging:
            raise OverBudget(f"{used} {what} for {size} bytes of input, and {allowed} are allowed")
