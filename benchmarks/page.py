"""``docs/performance.md``: the template with tables and sentences that come from the figures alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from string import Template

from .process import ROOT
from .results import Results, ratios, verdict
from .table import (
    NOTHING,
    latency_cell,
    number,
    ours_by_theirs,
    per_cpu_second_cell,
    rate_cell,
    ratio_cell,
    side_by_side,
    table,
    value_cell,
)
from .works import (
    BY_CLIENTS,
    BY_FRAGMENTS,
    BY_SIZE,
    CLIENT,
    COMPRESSED,
    CROWD,
    ECHO,
    FAN_OUT,
    HANDSHAKES,
    LIBRARIES,
    MEMORY,
    OURS,
    PURE,
    WORKS,
    YARDSTICK,
    Work,
)

TEMPLATE = Path(__file__).with_name("performance.md.template")
#: The works of which the page says who is ahead; the others are curves.
COMPARED = [*ECHO, *COMPRESSED, CLIENT, HANDSHAKES, FAN_OUT, *MEMORY, CROWD]


def write(results: Results, docs: Path = ROOT / "docs") -> None:
    from . import plots  # matplotlib is there only for those who write the page

    (docs / "performance.md").write_text(render(results))
    static = docs / "_static"
    plots.bars(results, ECHO, static / "performance-echo")
    plots.bars(results, [HANDSHAKES, FAN_OUT, *MEMORY, CROWD], static / "performance-connections")
    plots.curves(results, static / "performance-scaling")
    results.save(static / "performance.json")


def render(results: Results) -> str:
    small = [work for work in ECHO if work.name.startswith("small")]
    about = results.about
    return Template(TEMPLATE.read_text()).substitute(
        date=about["date"],
        machine=about["machine"],
        python=about["python"],
        rounds=about["rounds"],
        seconds=about["seconds"],
        extension="with" if about["extension"] else "without",
        versions=", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        behind=behind(results),
        standing=standing(results),
        echo=side_by_side(results, ECHO, value_cell),
        echo_ratios=side_by_side(results, ECHO, ratio_cell),
        latencies=side_by_side(results, small[:2], latency_cell),
        rates=side_by_side(results, ECHO, rate_cell),
        compressed=side_by_side(results, COMPRESSED, value_cell),
        client=side_by_side(results, [CLIENT], value_cell),
        handshakes=side_by_side(results, [HANDSHAKES], per_cpu_second_cell),
        memory=side_by_side(results, MEMORY, value_cell),
        crowd=crowd(results),
        fan_out=side_by_side(results, [FAN_OUT], value_cell),
        by_clients=side_by_side(results, BY_CLIENTS, value_cell),
        by_size=side_by_side(results, BY_SIZE, value_cell),
        by_fragments=side_by_side(results, BY_FRAGMENTS, value_cell),
        generator=generator(results),
        failures=failures(results),
    )


def comparisons(results: Results, work: Work) -> Iterable[tuple[str, float]]:
    """Each other library, and how many times its costs ours are."""
    found = results.works.get(work.name, {})
    if OURS in found:
        for library in found:
            if library not in (OURS, PURE, YARDSTICK):
                yield library, ours_by_theirs(found, library, work.figure)


def standing(results: Results) -> str:
    """A line for each work: whom trio_ws is ahead of, level with, and behind."""
    lines = []
    for work in COMPARED:
        groups: dict[str, list[str]] = {"ahead of": [], "level with": [], "behind": []}
        for library, times in comparisons(results, work):
            groups[verdict(times)].append(f"{LIBRARIES[library]} ({number(times)})")
        said = [f"{word} {join(names)}" for word, names in groups.items() if names]
        found = results.works.get(work.name, {})
        if YARDSTICK in found and OURS in found:
            said.append(f"{number(ours_by_theirs(found, YARDSTICK, work.figure))} times bare Trio TCP")
        if said:
            lines.append(f"- **{work.title}**: {'; '.join(said)}.")
    return "\n".join(lines)


def behind(results: Results) -> str:
    """In plain words: where others cost less."""
    lines = []
    for work in COMPARED:
        worse = [
            f"{LIBRARIES[library]} ({number(times)})"
            for library, times in comparisons(results, work)
            if verdict(times) == "behind"
        ]
        if worse:
            lines.append(f"- **{work.title}**: {join(worse)}.")
    if not lines:
        return "In none of the works that this page compares did another library cost less."
    head = "Other libraries cost less in these works. In brackets: how many times their costs those of trio_ws are.\n\n"
    return head + "\n".join(lines)


def crowd(results: Results) -> str:
    rows = []
    for library, rounds in results.works.get(CROWD.name, {}).items():
        alone, among_many = rounds["alone_us"], rounds["cpu_us"]
        times = median(ratios(among_many, alone))
        rows.append([LIBRARIES[library], number(median(alone)), number(median(among_many)), number(times)])
    return table(["", "100 clients alone", "among 10,000", "times"], rows)


def generator(results: Results) -> str:
    """Whether some server was so fast that the load generator, and not it, set the pace."""
    slower = []
    for work in ECHO:
        for library, rounds in results.works.get(work.name, {}).items():
            own, server = median(rounds["generator_us"]), median(rounds["cpu_us"])
            if own > server and library != YARDSTICK:
                slower.append(f"{LIBRARIES[library]}, {work.title} ({number(own)} µs to {number(server)} µs)")
    if not slower:
        return "In no echo of this run did a message cost the load generator more than the server."
    return f"A message cost the load generator more than the server with {join(slower)}."


def failures(results: Results) -> str:
    said = [
        f"- {LIBRARIES[library]}, {WORKS[work].title}: {why}"
        for work, found in results.failures.items()
        for library, why in found.items()
    ]
    return "\n".join([f"What has {NOTHING} in place of a figure and was tried:", "", *said]) if said else ""


def join(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
