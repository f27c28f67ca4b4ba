"""The Autobahn test suite against our server and our client: `python autobahn_echo.py WSTEST REPORTS`.

WSTEST is the suite's program, REPORTS a directory for what it writes. Every case runs in both roles, and has to have
exactly the verdicts that autobahn_expected.json names: one that got better is a difference as well, and so is a case
that did not run, or that nobody expected. This is a program and no test module, because the suite needs Python 2.7:
`nox -s autobahn` installs it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, TypeAlias

import trio

import trio_ws

AGENT = "trio_ws"
EXPECTED = Path(__file__).with_name("autobahn_expected.json")
# The largest message of the suite.
MAX_SIZE = 16 * 2**20
# Seconds for one case; the suite's own limits are 1,000 at most.
CASE_TIMEOUT = 1100
# These are about compression and take nearly all of the time. If it has to be quick, only two cases of each of their
# subgroups run, such as 12.3.4 and 12.3.11: 1000 messages of 1 KiB in one frame, and 8 KiB in fragments of 256 bytes.
SLOW = ("12.", "13.")
QUICK = (".4", ".11")
# These send a good message and then a bad frame, octet by octet. To be OK, the echo has to go out before the bad frame
# is seen, and the kernel decides which octets are read together.
CHANCE = ("3.4", "4.1.5", "4.2.5")
OK, NON_STRICT, EITHER = "OK", "NON-STRICT", "OK or NON-STRICT"

#: case -> [what it did, how it closed]
Verdicts: TypeAlias = dict[str, list[str]]


async def echo(ws: trio_ws.WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def test_server(wstest: str, reports: Path, cases: list[str]) -> Path:
    """Let the suite's client loose on our server, and return where its index of results is."""
    out = reports / "server"
    async with trio_ws.open_websocket_server(echo, "127.0.0.1", 0, max_size=MAX_SIZE) as server:
        url = f"ws://127.0.0.1:{server.port}"
        spec = write_spec(out, {"servers": [{"agent": AGENT, "url": url}]}, cases)
        await trio.run_process([wstest, "-m", "fuzzingclient", "-s", spec], stdout=DEVNULL)
    return out / "index.json"


async def test_client(wstest: str, reports: Path, cases: list[str]) -> Path:
    """Run our client against the suite's server, and return where its index of results is."""
    out = reports / "client"
    url = f"ws://127.0.0.1:{await free_port()}"
    spec = write_spec(out, {"url": url}, cases)
    command = [wstest, "-m", "fuzzingserver", "-s", spec, "--webport", "0"]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.run_process, command, stdout=DEVNULL))
        for case in range(1, await case_count(url) + 1):
            await run_case(f"{url}/runCase?case={case}&agent={AGENT}")
        async with trio_ws.open_websocket(f"{url}/updateReports?agent={AGENT}") as ws:
            await ws.wait_closed()
        nursery.cancel_scope.cancel()
    return out / "index.json"


async def case_count(url: str) -> int:
    # The suite's server takes a moment to listen.
    with trio.fail_after(30):
        while True:
            try:
                async with trio_ws.open_websocket(f"{url}/getCaseCount") as ws:
                    return int(await ws.receive())
            except trio_ws.HandshakeError:
                await trio.sleep(0.2)


async def run_case(url: str) -> None:
    # Many cases end with an error on purpose; what counts is the suite's own verdict.
    with trio.move_on_after(CASE_TIMEOUT), suppress(trio_ws.ConnectionClosed, trio_ws.HandshakeError):
        async with trio_ws.open_websocket(url, max_size=MAX_SIZE) as ws:
            await echo(ws)


async def free_port() -> int:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def write_spec(out: Path, spec: dict[str, Any], cases: list[str]) -> str:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "spec.json"
    file.write_text(json.dumps({"outdir": str(out), "cases": cases, "exclude-cases": [], **spec}))
    return str(file)


def read_verdicts(index: Path) -> Verdicts:
    results = json.loads(index.read_text()).get(AGENT, {})
    verdicts = {case: [result["behavior"], result["behaviorClose"]] for case, result in results.items()}
    for case in CHANCE:
        if case in verdicts and verdicts[case][0] in (OK, NON_STRICT):
            verdicts[case][0] = EITHER
    return verdicts


def quick(cases: Iterable[str]) -> list[str]:
    """The cases that run where there is no time for all of them."""
    return [case for case in cases if not case.startswith(SLOW) or case.endswith(QUICK)]


def number(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


def differences(expected: Mapping[str, list[str]], seen: Mapping[str, list[str]]) -> list[str]:
    """What is not as expected, a line for each case."""
    return [
        f"{case}: {seen.get(case, 'did not run')}, not {expected.get(case, 'expected at all')}"
        for case in sorted({*expected, *seen}, key=number)
        if expected.get(case) != seen.get(case)
    ]


def write_expected(verdicts: Mapping[str, Verdicts]) -> None:
    """One line a case, so that a difference between two versions of the file can be read."""
    roles = [
        f'"{role}": {{\n'
        + ",\n".join(f'  "{case}": {json.dumps(cases[case])}' for case in sorted(cases, key=number))
        + "\n}"
        for role, cases in verdicts.items()
    ]
    EXPECTED.write_text("{" + ",\n".join(roles) + "}\n")


async def main(arguments: argparse.Namespace) -> None:
    expected: dict[str, Verdicts] = json.loads(EXPECTED.read_text())
    seen: dict[str, Verdicts] = {}
    wrong: list[str] = []
    for role, test in {"server": test_server, "client": test_client}.items():
        patterns = ["*"]
        if arguments.quick:
            patterns = quick(expected[role])
            expected[role] = {case: expected[role][case] for case in patterns}
        began = time.monotonic()
        index = await test(arguments.wstest, arguments.reports.absolute(), patterns)
        seen[role] = read_verdicts(index)
        found = differences(expected[role], seen[role])
        wrong += [f"{role} {line}" for line in found]
        counts = Counter(verdict for verdicts in seen[role].values() for verdict in verdicts)
        summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        print(f"{role}: {len(seen[role])} cases in {time.monotonic() - began:.0f} seconds; verdicts: {summary};")
        print(f"  {len(found)} not as expected; {index.with_suffix('.html')}", flush=True)
    if arguments.write:
        write_expected(seen)
    elif wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wstest")
    parser.add_argument("reports", type=Path)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="only two cases of each subgroup of 12 and 13")
    mode.add_argument("--write", action="store_true", help="make what happens the expected result")
    trio.run(main, parser.parse_args())
