"""``docs/memory.md``: the tables in it are written by the commands that measure them."""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

from .process import ROOT
from .results import circumstances

__all__ = ["PAGE", "arguments", "publish", "section", "with_section", "write"]

PAGE = ROOT / "docs" / "memory.md"


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Put the text between the markers of this name."""
    page.write_text(with_section(page.read_text(), name, text))


def with_section(page: str, name: str, text: str) -> str:
    before, begin, _, end, after = _cut(page, name)
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def section(page: str, name: str) -> str:
    """What stands between these markers."""
    return _cut(page, name)[2].strip()


def _cut(page: str, name: str) -> tuple[str, str, str, str, str]:
    begin, end = f"% {name}: written by `python -m benchmarks.{name} --write`", f"% {name}: to here"
    before, found, rest = page.partition(begin)
    inside, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the page has no lines {begin!r} and {end!r}")
    return before, begin, inside, end, after


def about() -> dict[str, Any]:
    """When and where, and with which versions of what this page is about."""
    now = circumstances()
    versions = {name: now["versions"][name] for name in ("trio_ws", "trio")} | {"zlib": zlib.ZLIB_RUNTIME_VERSION}
    return {key: now[key] for key in ("date", "machine", "python", "extension")} | {"versions": versions}


def caption(found: dict[str, Any]) -> str:
    """The same as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    extension = "with" if found["extension"] else "without"
    return f"*{found['date']}, {found['machine']}, {found['python']}, {versions}, {extension} the C extension.*"


def publish(name: str, figures: str, data: Any, args: argparse.Namespace) -> None:
    """Print the table; write it into the page, and what it is made of into a file, as far as the arguments say so."""
    found = about()
    text = f"{figures}\n\n{caption(found)}"
    print(text)
    if args.json:
        args.json.write_text(json.dumps(found | {name: data}, indent=1) + "\n")
    if args.write:
        write(name, text)


def arguments(name: str, description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--write", action="store_true", help="write the table into docs/memory.md")
    return parser
