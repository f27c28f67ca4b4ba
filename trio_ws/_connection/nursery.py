"""A nursery for tasks of ours around a block of the user's, that nobody notices (law 9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import trio

__all__ = ["open_background_nursery"]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@asynccontextmanager
async def open_background_nursery() -> AsyncIterator[trio.Nursery]:
    """Like :func:`trio.open_nursery`, but what the block raises comes out as it is, and the tasks end with the block.

    Tasks of ours raise only when there is a bug in them, when the user asked for a handler's error to come out, or
    when they are hit by KeyboardInterrupt. Then that error comes out: bare if it is the only one, and in front of a
    ``Cancelled`` that was only its consequence.
    """
    block_error: BaseException | None = None
    task_errors: list[BaseException] = []
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as exc:  # whatever it is, it is raised again below, outside the nursery
                block_error = exc
            nursery.cancel_scope.cancel()
    except BaseException as exc:  # all of it is sorted and raised again below
        task_errors = [leaf for leaf in _leaves(exc) if not isinstance(leaf, trio.Cancelled)]
        if block_error is None and not task_errors:
            # We are being cancelled from outside: Cancelled stays Cancelled, without a group around it.
            block_error = next(_leaves(exc))
    try:
        if block_error is not None and not (task_errors and isinstance(block_error, trio.Cancelled)):
            task_errors.insert(0, block_error)
        if len(task_errors) == 1:
            raise task_errors[0]
        if task_errors:
            raise BaseExceptionGroup("several things failed at the same time", task_errors)
    finally:
        # Both hold tracebacks that hold this frame.
        del block_error, task_errors
