"""Run a scenario again and again, each time with one more thing gone wrong: cancelled at its first checkpoint, its
second and so on; or with its stream failing at the first call, the second and so on.

Time is a mock clock that jumps when nothing else happens, so a scenario that hangs ends by its time limit at once.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import trio
import trio.testing

#: Seconds of mock time; more than all timeouts of a connection together.
LIMIT = 300


class Region(trio.abc.Instrument):
    """The part of a scenario that is cancelled: use it once, as ``with region:``, in the task to be cancelled."""

    def __init__(self, cancel_at: int) -> None:
        self._cancel_at = cancel_at
        self._task: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        self._steps = 0

    def __enter__(self) -> Region:
        self._task = trio.lowlevel.current_task()
        self._scope.__enter__()
        if self._cancel_at == 0:
            self._scope.cancel()
        return self

    def __exit__(self, *exc: object) -> bool | None:
        self._task = None
        return self._scope.__exit__(*exc)  # type: ignore[arg-type]

    @property
    def cancelled(self) -> bool:
        return self._scope.cancelled_caught

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._steps += 1
            if self._steps == self._cancel_at:
                self._scope.cancel()

    @property
    def over(self) -> bool:
        """Whether the region has fewer checkpoints than the one to be cancelled."""
        return self._steps < self._cancel_at


def _fds() -> list[str]:
    listing = os.listdir("/proc/self/fd")
    return [fd for fd in listing if os.path.lexists(f"/proc/self/fd/{fd}")]


def _run(scenario: Callable[[], Awaitable[None]], *instruments: trio.abc.Instrument, real_time: bool = False) -> None:
    async def limited() -> None:
        with trio.fail_after(LIMIT):
            await scenario()

    before = len(_fds())
    clock = None if real_time else trio.testing.MockClock(autojump_threshold=0)
    trio.run(limited, clock=clock, instruments=instruments)
    assert len(_fds()) == before, "a file descriptor was left open"


def cancel_everywhere(scenario: Callable[[Region], Awaitable[None]], *, real_time: bool = False) -> int:
    """Cancel the scenario's region at each of its checkpoints; return how many that were."""
    step = 0
    while True:
        region = Region(step)
        _run(lambda region=region: scenario(region), region, real_time=real_time)  # type: ignore[misc]
        if region.over:
            return step
        step += 1


def fail_everywhere(scenario: Callable[[int], Awaitable[int]], *, first: int = 1) -> int:
    """Have the scenario's stream fail at its first call, its second, ...

    ``scenario(call)`` brings a :class:`trio_ws.testing.FaultyStream` that fails at that call, and returns how many
    calls there were.
    """
    call = first
    while True:
        calls = 0

        async def one(call: int = call) -> None:
            nonlocal calls
            calls = await scenario(call)

        _run(one)
        if calls < call:
            return call
        call += 1
