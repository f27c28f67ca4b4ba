"""Fuzz one target for some seconds, starting from its corpus; or all, each as long::

    python tests/fuzz/run.py TARGET SECONDS
    python tests/fuzz/run.py all SECONDS

A finding goes to a directory that is printed, and then the exit status is not 0. To see it again, without the engine::

    python tests/fuzz/run.py TARGET FILE

What is new stays in the directory given with ``--work``. To add to the corpus those of its inputs that cover more::

    python tests/fuzz/run.py TARGET 0 --work DIRECTORY --merge
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).with_name("corpus")
DICTIONARIES = Path(__file__).with_name("dictionaries")
TARGETS = [
    "request_head",
    "response_head",
    "extensions",
    "server_frames",
    "client_frames",
    "connection",
    "differential",
    "speedups",
]

#: Bytes of one input: enough for what a head or a few frames can do, and short enough for thousands of runs a second.
MAX_LENGTH = dict.fromkeys(TARGETS, 4096) | {"connection": 512}
#: One run in so many is measured. A prime, so that each of a target's runs on one input has its turn.
MEASURE_EVERY = 61


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("seconds", help="how long, or the file of an earlier finding")
    parser.add_argument("--work", type=Path, help="where new inputs are collected; by default a new directory")
    parser.add_argument("--merge", action="store_true", help="add to the corpus what is new in the work directory")
    arguments, for_the_engine = parser.parse_known_args()
    sys.path.insert(0, str(ROOT))
    if arguments.target == "all":
        commands = [[sys.executable, __file__, target, arguments.seconds] for target in TARGETS]
        statuses = [subprocess.run(command).returncode for command in commands]  # all, also behind a finding
        sys.exit(any(statuses))
    if not arguments.seconds.isdigit():
        replay(arguments.target, Path(arguments.seconds))
        return
    work = arguments.work or Path(tempfile.mkdtemp(prefix=f"fuzz-{arguments.target}-"))
    fuzz(arguments.target, int(arguments.seconds), work, merge=arguments.merge, options=for_the_engine)


def replay(target: str, file: Path) -> None:
    from tests.fuzz import budget

    budget.measure_every(1)
    import_module(f"tests.fuzz.{target}").fuzz_one(file.read_bytes())


def fuzz(target: str, seconds: int, work: Path, *, merge: bool, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["trio_ws", "wsproto", "h11"], enable_loader_override=False):
        import trio_ws  # noqa: F401
    from tests.fuzz import budget

    fuzz_one = import_module(f"tests.fuzz.{target}").fuzz_one
    budget.warm_up(fuzz_one, [file.read_bytes() for file in (CORPUS / target).iterdir()])
    budget.measure_every(MEASURE_EVERY)
    # To merge, libFuzzer runs this program again, in a shell and with options of its own.
    command = f"{sys.executable} {__file__} {target} 0"
    atheris.Setup([command, *(options or engine_options(target, seconds, work, merge=merge))], fuzz_one)
    atheris.Fuzz()


def engine_options(target: str, seconds: int, work: Path, *, merge: bool) -> list[str]:
    findings, inputs, corpus = work / "findings", work / "inputs", CORPUS / target
    for directory in (findings, inputs, corpus):
        directory.mkdir(parents=True, exist_ok=True)
    print(f"findings of {target} go to {findings}", flush=True)
    options = [f"-max_len={MAX_LENGTH[target]}", f"-artifact_prefix={findings}/", "-timeout=20", "-rss_limit_mb=1024"]
    dictionary = DICTIONARIES / f"{target}.txt"
    if dictionary.exists():
        options.append(f"-dict={dictionary}")
    if merge:
        return [*options, "-set_cover_merge=1", str(corpus), str(inputs)]
    return [*options, f"-max_total_time={seconds}", "-print_final_stats=1", str(inputs), str(corpus)]


if __name__ == "__main__":
    main()
