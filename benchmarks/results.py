"""The figures of several rounds, where they were taken, and what may be said of them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import attrs

import trio_ws

PACKAGES = (
    "trio_ws",
    "trio",
    "wsproto",
    "h11",
    "websockets",
    "trio-websocket",
    "hypercorn",
    "aiohttp",
    "picows",
    "uvloop",
)

#: figure -> its value in each round
Rounds = dict[str, list[float]]


@attrs.define
class Results:
    """What one run has found; a run may be cut into several, on the same machine with the same versions."""

    #: When, on what machine, with which versions of everything.
    about: dict[str, Any]
    #: work -> library -> figures
    works: dict[str, dict[str, Rounds]] = attrs.Factory(dict)
    #: work -> library -> why there are no figures
    failures: dict[str, dict[str, str]] = attrs.Factory(dict)

    def add(self, work: str, library: str, figures: dict[str, float]) -> None:
        rounds = self.works.setdefault(work, {}).setdefault(library, {})
        for name, value in figures.items():
            rounds.setdefault(name, []).append(round(value, 3))

    def fail(self, work: str, library: str, why: str) -> None:
        self.works.setdefault(work, {}).pop(library, None)
        self.failures.setdefault(work, {})[library] = why

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(attrs.asdict(self), indent=1) + "\n")


def load(path: Path) -> Results:
    return Results(**json.loads(path.read_text()))


def about(rounds: int, seconds: float) -> dict[str, Any]:
    return circumstances() | {"rounds": rounds, "seconds": seconds}


def circumstances() -> dict[str, Any]:
    """When and where, with what code and which versions of all that is measured."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{processor()}, {os.cpu_count()} processors, Linux {kernel()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "extension": trio_ws.accelerated,
        "code": code(),
        "versions": {name: found for name in PACKAGES if (found := version_of(name))},
    }


def code() -> str:
    """What the package consists of, in short: figures of other code are not mixed with these."""
    package = Path(trio_ws.__file__).parent
    files = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".c"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def kernel() -> str:
    return ".".join(platform.release().split(".")[:2])


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def deviation(values: list[float]) -> float:
    """Half of the way from the smallest to the largest, as a share of the median."""
    return (max(values) - min(values)) / 2 / median(values)


def ratios(values: list[float], others: list[float]) -> list[float]:
    """Round by round, since both were measured in the same minute: what else the machine did cancels out."""
    return [value / other for value, other in zip(values, others, strict=True)]


def verdict(ratio: float) -> str:
    """What may be said of one that costs so many times what the other costs. Less than 5 % is noise."""
    if ratio < 1 / 1.05:
        return "ahead of"
    return "behind" if ratio > 1.05 else "level with"
