"""``python -m benchmarks``: measure, interleaved and in rounds, and print a table for each work."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack

from .process import Server, pin
from .results import Results, add
from .table import work_table
from .works import SERVERS, WORKS, Work


def main() -> None:
    args = parse()
    pin(os.getpid(), last=False)
    results: Results = {}
    for name in args.work:
        work = WORKS[name]
        run(work, [server for server in work.servers if server in args.only], args, results)
        print(f"\n{name}: {work.title}\n\n{work_table(results[name])}", flush=True)


def run(work: Work, names: list[str], args: argparse.Namespace, results: Results) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(name, work.settings)) for name in names]
        for _ in range(args.rounds):
            for server in servers:
                add(results, work.name, server.name, work.measure(server, args.seconds))


def names(known: object):
    def read(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return chosen

    return read


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=names(WORKS), default=list(WORKS))
    parser.add_argument("--only", type=names(SERVERS), default=list(SERVERS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    args = parser.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 5)
    args.seconds = args.seconds or (0.4 if args.quick else 1.0)
    return args


if __name__ == "__main__":
    main()
