"""The tables of docs/memory.md have the rows that the commands write, and the commands measure what they say."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmarks run on Linux only", allow_module_level=True)

from benchmarks import compression, memory_bounds, memory_connection, memory_page
from benchmarks.compression import DEFAULT, SETTINGS, Cost, cost_table, unbeaten
from benchmarks.memory_bounds import CASES, Held, bounds_table
from benchmarks.memory_compression import OFF, Setting
from benchmarks.memory_connection import STATES, connection_table, example_table
from benchmarks.memory_corpus import SUBJECTS, conversation
from benchmarks.memory_formula import KIB, MIB, receiving, sending
from benchmarks.memory_kernel import Queued, queued


def first_column(table: str) -> list[str]:
    """The rows' names, whether one of them is in bold or not; that depends on the figures."""
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [row.split(" | ")[0].removeprefix("| ").replace("**", "") for row in rows]


NO_KIB = {state.title: 1.0 for state in STATES}
TABLES = {
    "compression": cost_table(dict.fromkeys(SETTINGS, Cost(1, 1, 1, 1))),
    "memory_bounds": bounds_table([(case.title, Held(1, 1, 1, 1, 1)) for case in CASES]),
    "memory_connection": "\n".join([connection_table(NO_KIB), example_table(NO_KIB)]),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_on_the_page_has_the_rows_that_the_command_writes(name: str) -> None:
    on_the_page = memory_page.section(memory_page.PAGE.read_text(), name)
    assert first_column(on_the_page) == first_column(TABLES[name])
    assert len(first_column(on_the_page)) > 5


def test_writing_replaces_what_is_between_the_markers_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "memory.md"
    begin, end = "% sizes: written by `python -m benchmarks.sizes --write`", "% sizes: to here"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    for text in ("new", "newer"):
        memory_page.write("sizes", text, page)
        assert page.read_text() == f"before\n{begin}\n\n{text}\n\n{end}\nafter\n"
        assert memory_page.section(page.read_text(), "sizes") == text


def test_page_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="sizes"):
        memory_page.with_section("nothing here", "sizes", "new")


# The documents


@pytest.mark.parametrize("subject", SUBJECTS)
def test_documents_are_small_and_the_same_each_time(subject: str) -> None:
    texts = conversation(subject, 300)
    assert texts == conversation(subject, 300)
    assert len(set(texts)) == len(texts)
    assert all(100 <= len(text.encode()) <= 400 for text in texts)


# Compression


def test_every_window_and_level_is_measured_once() -> None:
    grid = {Setting(window, level) for window in range(9, 16) for level in range(2, 9)}
    assert grid | {OFF} < set(SETTINGS)
    assert len(set(SETTINGS)) == len(SETTINGS)


def test_larger_windows_make_smaller_messages_and_take_more_memory() -> None:
    settings = [OFF, Setting(9, 2), DEFAULT, Setting(12, 5, takeover=False)]
    costs = compression.measure(settings, rounds=1, connections=60, length=60)
    off, least, default, afresh = (costs[setting] for setting in settings)
    assert off.size_percent == 100 > afresh.size_percent > least.size_percent > default.size_percent
    assert default.memory_kib > least.memory_kib + 10
    assert least.memory_kib > off.memory_kib + 5
    assert min(default.send_us, default.receive_us) > 0


def test_setting_is_beaten_by_one_with_less_memory_and_no_larger_messages() -> None:
    small, large = Cost(10, 30, 1, 1), Cost(20, 30, 1, 1)
    assert unbeaten(small, [small, large])
    assert not unbeaten(large, [small, large])
    assert unbeaten(large._replace(size_percent=20), [small])


# Limits


def test_formula_is_the_sum_of_the_limits() -> None:
    assert receiving(MIB, 16, 64 * KIB) == 18 * MIB + 64 * KIB + 16 * 130
    assert receiving(KIB, 1, KIB, width=4) == 12 * KIB + KIB + 2 * 130
    assert receiving(KIB, 1, 64 * KIB, size=2) == 3 * KIB + 64 * KIB + 2001 * 130
    assert sending(64 * KIB) == 64 * KIB


def test_case_is_brought_to_its_limit_and_held_there() -> None:
    """A limit much larger than what malloc and its like add, so that the test depends on nothing else."""
    (case,) = (case for case in CASES if "MALLOC" in case.title)
    held = memory_bounds.measure(case._replace(connections=4))
    assert held.bound == receiving(MIB, 0) / KIB
    assert KIB <= held.reached <= held.pressed < 1.2 * held.bound


def test_used_compression_is_seen_in_the_memory_of_a_connection() -> None:
    idle, used = (state for state in STATES if state.compression)
    few = used._replace(turns=5)
    assert memory_connection.measure(few, 150) > memory_connection.measure(idle, 150) + 10


def test_kernel_tells_what_waits_unread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0] as server:
            assert queued(port) == Queued(0, 0)
            client.sendall(bytes(1000))
            assert server.recv(1, socket.MSG_PEEK)
            assert queued(port) == Queued(1000, 0)
