"""The chat page of the examples, driven in a real browser."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parent.parent.parent
MODULES = ROOT / "tests" / "interop" / "node" / "node_modules" / "playwright-core"


def _chromium_and_node() -> tuple[str, str]:
    chromium, node = shutil.which("chromium"), shutil.which("node")
    if chromium is None:
        pytest.skip("chromium is not installed")
    if node is None:
        pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"node 20 or later is needed, not {version.strip()}")
    if not MODULES.exists():
        pytest.skip("playwright-core is not installed: run npm ci in tests/interop/node")
    return chromium, node


async def _read_line(lines: trio.abc.ReceiveStream, buffer: bytearray) -> str:
    while b"\n" not in buffer:
        data = await lines.receive_some()
        assert data, f"ended too early, after {buffer!r}"
        buffer += data
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return line.decode()


async def test_message_reaches_the_other_page_and_sigterm_shows_1001_in_both() -> None:
    chromium, node = _chromium_and_node()
    serve = [sys.executable, "-m", "trio_ws", "serve", "examples.chat:handler"]
    serve += ["--process-request", "examples.chat:page", "--port", "0"]
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            server = await _start(nursery, serve)
            assert server.stdout is not None
            url = (await _read_line(server.stdout, bytearray())).removeprefix("listening on ")
            script = str(ROOT / "tests" / "browser" / "chat.mjs")
            browser = await _start(nursery, [node, script, chromium, url])
            assert browser.stdout is not None
            buffer = bytearray()
            delivered = json.loads((await _read_line(browser.stdout, buffer)).removeprefix("delivered: "))
            assert delivered == {"author": "<i>Bob</i>", "text": "hello & <b>welcome</b> \U0001f600"}
            server.send_signal(signal.SIGTERM)
            for _ in range(2):
                assert (await _read_line(browser.stdout, buffer)).startswith("closed: 1001 ")
            assert await server.wait() == 0
            assert await browser.wait() == 0


async def _start(nursery: trio.Nursery, command: list[str]) -> trio.Process:
    """Start a program that is killed if the test fails, and never waited for longer than the test."""

    async def run(task_status: trio.TaskStatus[trio.Process]) -> None:
        await trio.run_process(
            command, cwd=ROOT, stdout=subprocess.PIPE, check=False, deliver_cancel=_kill, task_status=task_status
        )

    process: trio.Process = await nursery.start(run)
    return process


async def _kill(process: trio.Process) -> None:
    process.kill()
