"""The Autobahn test suite against our server and our client: `python autobahn_echo.py WSTEST REPORTS`.

WSTEST is the suite's program, REPORTS a directory for what it writes. Fails if any case has FAILED.
This is a program and no test module, because the suite needs Python 2.7: `nox -s autobahn` installs it.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import trio

import trio_ws

AGENT = "trio_ws"
# Not here: 9 is about speed, 12 and 13 about compression.
CASES = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)]
# The largest message of the suite.
MAX_SIZE = 16 * 2**20


async def echo(ws: trio_ws.WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def test_server(wstest: str, reports: Path) -> Path:
    """Let the suite's client loose on our server, and return where its index of results is."""
    out = reports / "server"
    async with trio_ws.open_websocket_server(echo, "127.0.0.1", 0, max_size=MAX_SIZE) as server:
        url = f"ws://127.0.0.1:{server.port}"
        spec = {"outdir": str(out), "servers": [{"agent": AGENT, "url": url}], **cases()}
        await trio.run_process([wstest, "-m", "fuzzingclient", "-s", write_spec(out, spec)], stdout=DEVNULL)
    return out / "index.json"


async def test_client(wstest: str, reports: Path) -> Path:
    """Run our client against the suite's server, and return where its index of results is."""
    out = reports / "client"
    url = f"ws://127.0.0.1:{await free_port()}"
    spec = write_spec(out, {"outdir": str(out), "url": url, **cases()})
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
    # Most cases end with an error on purpose; what counts is the suite's own verdict.
    with trio.move_on_after(60), suppress(trio_ws.ConnectionClosed, trio_ws.HandshakeError):
        async with trio_ws.open_websocket(url, max_size=MAX_SIZE) as ws:
            await echo(ws)


async def free_port() -> int:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def cases() -> dict[str, Any]:
    return {"cases": CASES, "exclude-cases": [], "exclude-agent-cases": {}}


def write_spec(out: Path, spec: dict[str, Any]) -> str:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "spec.json"
    file.write_text(json.dumps(spec))
    return str(file)


def failures(index: Path) -> list[str]:
    """The cases that FAILED, or that the suite has no results for; and one line of summary."""
    results = json.loads(index.read_text()).get(AGENT, {})
    failed = [
        f"{case}: {result['behavior']}, closing: {result['behaviorClose']}"
        for case, result in results.items()
        if "FAILED" in (result["behavior"], result["behaviorClose"])
    ]
    print(f"{index.parent.name}: {len(results)} cases, {len(failed)} failed; {index.with_suffix('.html')}")
    return failed if results else ["no case has run"]


async def main(wstest: str, reports: str) -> None:
    failed: list[str] = []
    for test in (test_server, test_client):
        failed += [f"{test.__name__} {line}" for line in failures(await test(wstest, Path(reports)))]
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
