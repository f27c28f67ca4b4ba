"""``python -m benchmarks``: measure in rounds, every library in each, and print a table for each work."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import page
from .conversation import WrongReply
from .process import allow_files, pin
from .results import Results, about, load
from .table import one_work
from .works import LIBRARIES, WORKS, Work

#: What a library may do in a benchmark other than to work: it is left out there, and the table says why.
FAILURES = (OSError, WrongReply, RuntimeError)


def main() -> None:
    args = parse()
    results = load(args.from_file) if args.from_file else measure(args)
    if args.write:
        page.write(results)


def measure(args: argparse.Namespace) -> Results:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without ending the servers
    pin(os.getpid(), last=False)
    allow_files()
    results = start(args.json, about(args.rounds, args.seconds))
    for name in args.work:
        work = WORKS[name]
        libraries = [library for library in work.libraries if library in args.only]
        if name not in results.works and libraries:
            run(work, libraries, args, results)
            if args.json:
                results.save(args.json)
        if name in results.works:
            show(work, results)
    return results


def show(work: Work, results: Results) -> None:
    print(f"\n{work.name}: {work.title}\n\n{one_work(results, work)}", flush=True)
    for library, why in results.failures.get(work.name, {}).items():
        print(f"{library}: {why}", flush=True)


def start(path: Path | None, now: dict[str, Any]) -> Results:
    """Go on with what a file has, if it is about the same."""
    if path is None or not path.exists():
        return Results(now)
    results = load(path)
    then = results.about | {"date": now["date"]}
    if then != now:
        raise SystemExit(f"{path} is about something else: {then}, not {now}")
    return results


def run(work: Work, libraries: list[str], args: argparse.Namespace, results: Results) -> None:
    with ExitStack() as stack:
        subjects = {library: stack.enter_context(work.subject(library)) for library in libraries}
        for _ in range(min(args.rounds, work.rounds)):
            for library in list(subjects):
                try:
                    results.add(work.name, library, work.measure(subjects[library], args.seconds))
                except FAILURES as exc:
                    results.fail(work.name, library, f"{type(exc).__name__}: {exc}")
                    del subjects[library]


def some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return chosen

    return read


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the works of every day, in under two minutes")
    parser.add_argument("--work", type=some_of(WORKS), metavar="A,B", help=f"only these: {', '.join(WORKS)}")
    parser.add_argument("--only", type=some_of(LIBRARIES), metavar="A,B", help=f"only these: {', '.join(LIBRARIES)}")
    parser.add_argument("--rounds", type=int, help="how often everything is measured; default 7, or 3 if quick")
    parser.add_argument("--seconds", type=float, help="how long each time; default 0.5, or 0.2 if quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there; works it has are not redone")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="from_file", help="measure nothing, take these")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its pictures")
    args = parser.parse_args()
    args.work = args.work or [name for name, work in WORKS.items() if work.quick or not args.quick]
    args.only = args.only or list(LIBRARIES)
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.seconds = args.seconds or (0.2 if args.quick else 0.5)
    return args


if __name__ == "__main__":
    main()
