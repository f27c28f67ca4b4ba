"""The ``trio-ws`` command."""

from __future__ import annotations

import importlib
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from trio_ws import __version__, accelerated, open_websocket
from trio_ws.cli import main

MODULE = """
from trio_ws import Response

async def shout(ws):
    async for message in ws:
        await ws.send(message.upper())

class Pages:
    @staticmethod
    def page(request):
        if request.path == "/page":
            return Response(200, "a page")

not_callable = 7
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "shouting.py").write_text(MODULE)
    (tmp_path / "failing.py").write_text("import no_such_module_anywhere\n")
    return tmp_path


@asynccontextmanager
async def command(directory: Path, *arguments: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """``python -m trio_ws serve`` in a directory, and the URL that it says it listens on."""
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "trio_ws", "serve", *arguments], cwd=directory, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            line = b""
            while not line.endswith(b"\n"):
                data = await process.stdout.receive_some()
                assert data, "it ended before it listened"
                line += data
            yield process, line.split()[-1].decode()
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()


async def test_serve_runs_a_handler_and_a_hook_until_sigterm(module: Path) -> None:
    hook = ("--process-request", "shouting:Pages.page")
    async with command(module, "shouting:shout", "--port", "0", *hook, "--log-level", "debug") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        async with open_websocket(url.replace("http", "ws")) as ws:
            await ws.send("hello")
            assert await ws.receive() == "HELLO"
            process.send_signal(signal.SIGTERM)
            assert (await ws.wait_closed()).received_code == 1001
        assert await process.wait() == 0


async def test_serve_speaks_tls(module: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(module / "server.pem"))
    context = ssl.create_default_context()
    ca.configure_trust(context)
    options = ("--host", "localhost", "--port", "0", "--tls-cert", "server.pem")
    async with command(module, "shouting:shout", *options) as (process, url):
        assert url.startswith("https://")
        port = url.rstrip("/").rpartition(":")[2]
        async with open_websocket(f"wss://localhost:{port}/", ssl_context=context) as ws:
            await ws.send("hello")
            assert await ws.receive() == "HELLO"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["shouting"], "not of the form MODULE:NAME"),
        (["shouting:"], "not of the form MODULE:NAME"),
        (["no_such_module:handler"], "there is no module 'no_such_module'"),
        (["shouting:nothing"], "module 'shouting' has no 'nothing'"),
        (["shouting:not_callable"], "not callable"),
        (["shouting:shout", "--port", "70000"], "not a port"),
        (["shouting:shout", "--port", "http"], "not a port"),
        (["shouting:shout", "--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (["shouting:shout", "--tls-cert", "nowhere.pem"], "--tls-cert, --tls-key"),
        (["shouting:shout", "--log-level", "loud"], "loud"),
    ],
)
def test_argument_that_makes_no_sense_is_one_clear_line_and_status_2(
    arguments: list[str],
    says: str,
    module: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(module)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(SystemExit) as caught:
        main(["serve", *arguments])
    assert caught.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_module_that_fails_to_import_shows_its_own_error(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(module)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        main(["serve", "failing:handler"])


async def test_port_that_is_taken_is_one_clear_line_and_status_2(
    module: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(module)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        port = str(listener.socket.getsockname()[1])

        def run() -> None:
            with pytest.raises(SystemExit) as caught:
                main(["serve", "shouting:shout", "--port", port])
            assert caught.value.code == 2

        await trio.to_thread.run_sync(run)
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


def test_importing_the_program_does_not_run_it() -> None:
    importlib.import_module("trio_ws.__main__")


def test_version_is_told_and_whether_the_extension_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    extension = "with" if accelerated else "without"
    assert capsys.readouterr().out == f"trio-ws {__version__} ({extension} C extension)\n"
