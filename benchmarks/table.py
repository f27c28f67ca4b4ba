"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from .results import Results, Rounds, deviation, ratios
from .works import LIBRARIES, OURS, Work

NOTHING = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, the others are numbers."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def one_work(results: Results, work: Work) -> str:
    """All there is about one work, a row for each library."""
    found = results.works[work.name]
    figures = list(dict.fromkeys(name for rounds in found.values() for name in rounds))
    rows = []
    for library, rounds in found.items():
        values = rounds[work.figure]
        ratio = number(ours_by_theirs(found, library, work.figure)) if OURS in found else NOTHING
        cells = [number(median(rounds[name])) if name in rounds else NOTHING for name in figures]
        rows.append([LIBRARIES[library], *cells, f"{deviation(values):.0%}", ratio])
    return table(["", *figures, f"± {work.figure}", f"{OURS} / this"], rows)


def side_by_side(results: Results, works: Sequence[Work], cell: Callable[[dict[str, Rounds], str, Work], str]) -> str:
    """A row for each library, a column for each work."""
    libraries = [name for name in LIBRARIES if any(name in results.works.get(work.name, {}) for work in works)]
    rows = [
        [LIBRARIES[library], *(cell_or_nothing(results, work, library, cell) for work in works)]
        for library in libraries
    ]
    return table(["", *(work.title for work in works)], rows)


def cell_or_nothing(
    results: Results, work: Work, library: str, cell: Callable[[dict[str, Rounds], str, Work], str]
) -> str:
    found = results.works.get(work.name, {})
    return cell(found, library, work) if library in found else NOTHING


def value_cell(found: dict[str, Rounds], library: str, work: Work) -> str:
    values = found[library][work.figure]
    return f"{number(median(values))} ± {deviation(values):.0%}"


def ratio_cell(found: dict[str, Rounds], library: str, work: Work) -> str:
    return number(ours_by_theirs(found, library, work.figure)) if OURS in found else NOTHING


def latency_cell(found: dict[str, Rounds], library: str, work: Work) -> str:
    return f"{number(median(found[library]['p50_us']))} / {number(median(found[library]['p99_us']))}"


def rate_cell(found: dict[str, Rounds], library: str, work: Work) -> str:
    return number(median(found[library]["per_second"]))


def per_cpu_second_cell(found: dict[str, Rounds], library: str, work: Work) -> str:
    return number(1e6 / median(found[library]["cpu_us"]))


def ours_by_theirs(found: dict[str, Rounds], library: str, figure: str) -> float:
    return median(ratios(found[OURS][figure], found[library][figure]))
