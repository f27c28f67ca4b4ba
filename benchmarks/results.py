"""Figures of several rounds, and what is said of them: median, spread, ratio."""

from __future__ import annotations

from statistics import median

#: work -> server -> figure -> one value a round
Results = dict[str, dict[str, dict[str, list[float]]]]


def add(results: Results, work: str, server: str, figures: dict[str, float]) -> None:
    rounds = results.setdefault(work, {}).setdefault(server, {})
    for name, value in figures.items():
        rounds.setdefault(name, []).append(value)


def spread(values: list[float]) -> float:
    """How far the rounds lie apart: (largest - smallest) / median."""
    return (max(values) - min(values)) / median(values) if any(values) else 0.0


def ratio(values: list[float], yardstick: list[float]) -> float:
    return median(values) / median(yardstick)
