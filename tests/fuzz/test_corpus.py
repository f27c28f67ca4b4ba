"""Every input of the corpus once more, and some that are made from them: ``nox -s fuzz`` goes on from here.

Every run is held to its budget of steps and memory, where a fuzzing engine measures one in many.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import budget
from tests.fuzz.budget import Budget, OverBudget, measure_every, warm_up
from tests.fuzz.run import CORPUS, MAX_LENGTH, TARGETS


def fuzz_one(target: str) -> Callable[[bytes], None]:
    function: Callable[[bytes], None] = import_module(f"tests.fuzz.{target}").fuzz_one
    return function


def inputs(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.fixture(autouse=True)
def _everything_is_measured() -> Iterator[None]:
    for target in TARGETS:
        fuzz_one(target)(b"")  # what is made only once is not measured
    measure_every(1)
    yield
    measure_every(0)


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_keeps_the_rules_and_its_budget(target: str) -> None:
    files = inputs(target)
    assert len(files) > 20
    for file in files:
        try:
            fuzz_one(target)(file.read_bytes())
        except Exception as exc:
            exc.add_note(f"with the input {file}")
            raise


@st.composite
def mutations(draw: st.DrawFn, target: str) -> bytes:
    """An input of the corpus with a few bytes changed, or the beginning of one and the end of another."""
    files = inputs(target)
    data = bytearray(draw(st.sampled_from(files)).read_bytes())
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    if draw(st.booleans()):
        other = draw(st.sampled_from(files)).read_bytes()
        data[draw(st.integers(0, len(data))) :] = other[draw(st.integers(0, len(other))) :]
    return bytes(data[: MAX_LENGTH[target]])


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_of_the_corpus_keep_the_rules_and_their_budget(target: str) -> None:
    @settings(
        max_examples=20 if target == "connection" else 60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(mutations(target), st.binary(max_size=200)))
    def run(data: bytes) -> None:
        fuzz_one(target)(data)

    run()


# The budget itself


SMALL = Budget(steps=100, steps_per_byte=10, memory=10_000, memory_per_byte=10)


@pytest.mark.parametrize("size", [0, 100])
def test_more_steps_than_the_input_allows_are_over_the_budget(size: int) -> None:
    def work(steps: int) -> None:
        with SMALL.spend(size):
            for number in range(steps):
                abs(number)

    work(50 + 10 * size)
    with pytest.raises(OverBudget, match="steps"):
        work(101 + 10 * size)


@pytest.mark.parametrize("size", [0, 100])
def test_more_memory_than_the_input_allows_is_over_the_budget(size: int) -> None:
    def work(memory: int) -> None:
        with SMALL.spend(size):
            del bytearray(memory)[:]

    work(5000 + 10 * size)
    with pytest.raises(OverBudget, match="heap"):
        work(10_001 + 10 * size)


def test_what_comes_out_only_in_the_run_counts_as_well() -> None:
    with SMALL.spend(0) as bill:
        kept = bytearray(20_000)
        bill.size, bill.held = 1, len(kept)


def test_one_run_in_so_many_is_measured() -> None:
    measure_every(7)
    refused = 0
    for _ in range(70):
        try:
            with budget.Budget(steps=0, steps_per_byte=0, memory=0, memory_per_byte=0).spend(0):
                pass
        except OverBudget:
            refused += 1
    assert refused == 10


def test_warming_up_measures_and_judges_nothing() -> None:
    ran = []

    def fuzz_one(data: bytes) -> None:
        with Budget(steps=0, steps_per_byte=0, memory=0, memory_per_byte=0).spend(0):
            ran.append(sys.getprofile() is not None)

    warm_up(fuzz_one, [b"x", b"y"])
    assert ran == [True, True]
    measure_every(1)
    with pytest.raises(OverBudget):
        fuzz_one(b"x")
