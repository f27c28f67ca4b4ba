"""What all client programs do: exchange messages for some time, then say what that took."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable

from ..frames import payload_of

MESSAGE = payload_of(64)


def address() -> str:
    return f"ws://127.0.0.1:{sys.argv[1]}/"


async def take_turns(turn: Callable[[], Awaitable[object]]) -> None:
    """Warm up, then measure, for as many seconds as the command line says. A turn gives back what it received."""
    if await turn() != MESSAGE:
        raise RuntimeError("not what was sent")
    warm_up, seconds = map(float, sys.argv[2:])
    await run(turn, warm_up)
    before = time.process_time_ns()
    sample = await run(turn, seconds)
    print(json.dumps({"cpu_ns": time.process_time_ns() - before, "sample": sample}))


async def run(turn: Callable[[], Awaitable[object]], seconds: float) -> dict[str, object]:
    start = now = time.perf_counter_ns()
    deadline = start + int(seconds * 1e9)
    latencies = []
    while now < deadline:
        await turn()
        before, now = now, time.perf_counter_ns()
        latencies.append(now - before)
    return {"messages": len(latencies), "seconds": (now - start) / 1e9, "latencies": latencies}
