"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from .results import ratio, spread


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, the others are numbers."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def work_table(servers: dict[str, dict[str, list[float]]], yardstick: str = "trio_ws") -> str:
    rows = []
    for name, figures in servers.items():
        cpu = figures["cpu_us"]
        against = number(ratio(servers[yardstick]["cpu_us"], cpu)) if yardstick in servers else ""
        others = [number(median(figures[key])) for key in ("p50_us", "p99_us", "per_second", "generator_us")]
        rows.append([name, number(median(cpu)), f"{spread(cpu):.0%}", against, *others])
    return table(["", "CPU us/msg", "spread", "trio_ws / this", "p50 us", "p99 us", "msg/s", "generator us"], rows)
