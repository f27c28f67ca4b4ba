"""Results as pictures, PNG and SVG. They have no background, and colours that can be read on white and on black."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from .results import Results
from .works import BY_CLIENTS, BY_FRAGMENTS, BY_SIZE, LIBRARIES, OURS, PURE, SOME, YARDSTICK, Work

# About as far from white as from black, so that one picture does for the light and the dark page.
TEXT = "#808080"
COLOURS = {
    "trio_ws": "#e4572e",
    "trio_ws_pure": "#e4572e",
    "trio_tcp": "#808080",
    "websockets_trio": "#3d7fd6",
    "websockets_asyncio": "#1799a8",
    "aiohttp": "#a06cc8",
    "picows": "#2e9e5b",
}
OTHERS = "#5b8fc7"
UNITS = {"cpu_us": "µs of CPU", "kib": "KiB"}

STYLE: Any = {
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": TEXT,
    "axes.titlesize": 12,
    "font.size": 11,
    "legend.frameon": False,
    "legend.labelcolor": TEXT,
    "savefig.transparent": True,
    "svg.fonttype": "none",  # text stays text, which takes a fifth of the bytes
    "svg.hashsalt": "trio_ws",  # the same picture of the same results
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}


def bars(results: Results, works: Sequence[Work], path: Path, *, columns: int = 2) -> None:
    """A panel for each work, a bar for each library, with what lay between the best and the worst round."""
    with mpl.rc_context(STYLE):
        rows = -(-len(works) // columns)
        figure, panels = plt.subplots(rows, columns, figsize=(6 * columns, 3.8 * rows), squeeze=False)
        for panel, work in zip(panels.flat, works, strict=False):
            draw_bars(panel, results, work)
        for panel in panels.flat[len(works) :]:
            panel.set_visible(False)
        save(figure, path)


def draw_bars(panel: Any, results: Results, work: Work) -> None:
    found = results.works.get(work.name, {})
    names = [name for name in LIBRARIES if name in found]
    values = [found[name][work.figure] for name in names]
    middles = [median(rounds) for rounds in values]
    reach = [
        [middle - min(rounds) for middle, rounds in zip(middles, values, strict=True)],
        [max(rounds) - middle for middle, rounds in zip(middles, values, strict=True)],
    ]
    colours = [COLOURS[name] if name in (OURS, PURE, YARDSTICK) else OTHERS for name in names]
    drawn = panel.barh(
        [LIBRARIES[name] for name in names], middles, color=colours, xerr=reach, error_kw={"ecolor": TEXT}
    )
    panel.bar_label(
        drawn, labels=[f"{middle:,.3g}" if middle < 1000 else f"{middle:,.0f}" for middle in middles], padding=6
    )
    panel.margins(x=0.18)
    panel.invert_yaxis()
    panel.set_title(f"{work.title} ({UNITS[work.figure]})")


def curves(results: Results, path: Path) -> None:
    """What a message costs as there are more clients, more bytes, more fragments."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(17, 5.2))
        for panel, works, label in zip(
            panels,
            (BY_CLIENTS, BY_SIZE, BY_FRAGMENTS),
            ("clients, 64 B, 1 in flight each", "bytes in a message, 1 client", "frames in a message of 64 KiB"),
            strict=True,
        ):
            draw_curves(panel, results, works, label)
        panels[0].set_ylabel("µs of CPU for each message")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(SOME))
        figure.tight_layout(rect=(0, 0.08, 1, 1))
        save(figure, path)


def draw_curves(panel: Any, results: Results, works: Sequence[Work], label: str) -> None:
    for name, marker in zip(SOME, "osv^DP", strict=True):
        points = [
            (int(work.name.rpartition("-")[2]), median(results.works[work.name][name][work.figure]))
            for work in works
            if name in results.works.get(work.name, {})
        ]
        if points:
            width = 3 if name == OURS else 1.5
            panel.plot(*zip(*points, strict=True), marker + "-", color=COLOURS[name], label=LIBRARIES[name], lw=width)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel(label)
    panel.grid(color=TEXT, alpha=0.25)


def save(figure: Any, path: Path) -> None:
    if not figure.legends:
        figure.tight_layout()
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=110)
    plt.close(figure)
