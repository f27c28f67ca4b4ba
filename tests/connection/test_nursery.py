"""The nursery that nobody notices."""

from __future__ import annotations

import pytest
import trio

from trio_ws._connection.nursery import open_background_nursery


async def fail() -> None:
    raise ValueError("a bug in a task")


async def test_tasks_end_with_the_block() -> None:
    with trio.fail_after(10):
        async with open_background_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)


async def test_failure_of_a_task_ends_the_block_and_comes_out_bare() -> None:
    with pytest.raises(ValueError, match="a bug in a task"):
        async with open_background_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()


async def test_failures_of_block_and_task_come_out_together() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_background_nursery() as nursery:
            nursery.start_soon(fail)
            raise KeyError("mine")
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]
