"""Every example does what its docstring says: each is started as a program of its own, talked to, and ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from trio_ws import ConnectionClosed, ConnectionRejected, WebSocketConnection, open_websocket

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
PATIENCE = 60  # seconds; only a failure takes that long
# What the caller told pytest is for this run of it, not for the one that is started here.
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}
ENVIRONMENT.pop("PYTEST_ADDOPTS", None)


@attrs.define
class Program:
    process: trio.Process
    output: str = ""
    _read: int = 0
    _terminated: bool = False

    async def next_line(self) -> str:
        assert self.process.stdout is not None
        while "\n" not in self.output[self._read :]:
            data = await self.process.stdout.receive_some()
            assert data, f"the program ended; it said {self.output!r}"
            self.output += data.decode()
        line, newline, _ = self.output[self._read :].partition("\n")
        self._read += len(line) + len(newline)
        return line

    async def port(self) -> int:
        """From the line in which the program says where it listens."""
        found = re.search(r"listening on \w+://[^/]*:(\d+)/", line := await self.next_line())
        assert found is not None, line
        return int(found[1])

    def terminate(self) -> None:
        """Ask it to end, once: a second signal may come when nobody handles it any longer."""
        if not self._terminated:
            self.process.terminate()
            self._terminated = True

    async def end(self) -> None:
        """Have it end, and see to it that it ends well."""
        self.terminate()
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.output += data.decode()
        assert await self.process.wait() == 0, self.output


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[Program]:
    """Start ``python COMMAND...``; kill it at the end if it still runs."""
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            [sys.executable, *command], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        async with process.stdout:
            try:
                yield Program(process)
            finally:
                if process.returncode is None:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()


async def run(*command: str, status: int = 0) -> str:
    """Run ``python COMMAND...`` to its end; return what it printed."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [sys.executable, *command],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    output = done.stdout.decode()
    assert done.returncode == status, output
    return output


def echo_server() -> list[str]:
    """echo_server.py listens on a port of its own choice; this has the system choose one."""
    return ["-m", "trio_ws", "serve", "examples.echo_server:echo", "--port", "0"]


async def rest_of(ws: WebSocketConnection) -> list[str | bytes]:
    """What still comes, until the server says goodbye as it should."""
    rest = [message async for message in ws]
    reason = await ws.wait_closed()
    assert (reason.code, reason.closed_by) == (1001, "remote")
    return rest


async def hear(ws: WebSocketConnection, kind: str) -> dict[str, str]:
    """The next message of this kind in the chat."""
    while True:
        message: dict[str, str] = json.loads(await ws.receive())
        if message["kind"] == kind:
            return message


async def get(port: int, target: str, method: str = "GET") -> tuple[str, str]:
    """Head and body of the answer to a plain HTTP request."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        answer = b"".join([data async for data in stream])
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def test_every_example_has_a_test() -> None:
    tests = Path(__file__).read_text()
    examples = {path.name for path in EXAMPLES.glob("*.py")}
    assert {name for name in examples if f"def test_{name.removesuffix('.py')}_" not in tests} == set()


async def test_echo_server_sends_everything_back() -> None:
    async with running(*echo_server()) as program:
        async with open_websocket(f"ws://127.0.0.1:{await program.port()}/") as ws:
            for message in ("text", b"binary", ""):
                await ws.send(message)
                assert await ws.receive() == message
            program.terminate()
            assert await rest_of(ws) == []
        await program.end()


async def test_echo_client_prints_the_answer() -> None:
    async with running(*echo_server()) as program:
        url = f"ws://127.0.0.1:{await program.port()}/"
        call = f"import trio; from examples.echo_client import main; trio.run(main, {url!r})"
        assert await run("-c", call) == "hello\n"
        await program.end()


@pytest.mark.parametrize(
    "command",
    [
        ["examples/chat.py"],
        ["-m", "examples.chat"],
        ["-m", "trio_ws", "serve", "examples.chat:handler", "--process-request", "examples.chat:page"],
    ],
    ids=["script", "module", "trio-ws serve"],
)
async def test_chat_hands_on_what_one_says_to_everyone(command: list[str]) -> None:
    async with running(*command, "--port", "0") as program:
        port = await program.port()
        url = f"ws://127.0.0.1:{port}/ws?name="
        async with open_websocket(url + "Ada%0aL") as ada, open_websocket(url) as guest:
            assert (await hear(ada, "welcome"))["name"] == "AdaL"
            guest_name = (await hear(guest, "welcome"))["name"]
            assert guest_name.startswith("guest-")
            await ada.send("hello")
            for ws in (ada, guest):
                said = await hear(ws, "say")
                assert (said["name"], said["text"]) == ("AdaL", "hello")
            await guest.send("/name " + 50 * "x")
            renamed = await hear(ada, "rename")
            assert (renamed["name"], renamed["to"]) == (guest_name, 24 * "x")
            await guest.aclose()
            assert (await hear(ada, "leave"))["name"] == 24 * "x"
            program.terminate()
            await rest_of(ada)
        await program.end()


async def test_chat_serves_its_page_and_a_health_check() -> None:
    async with running("examples/chat.py", "--port", "0") as program:
        port = await program.port()
        head, body = await get(port, "/")
        assert head.startswith("HTTP/1.1 200 ")
        assert body == (EXAMPLES / "chat.html").read_text()
        head, body = await get(port, "/healthz")
        assert head.startswith("HTTP/1.1 200 ")
        assert body == "ok, 0 here\n"
        head, _ = await get(port, "/nowhere")
        assert head.startswith("HTTP/1.1 404 ")
        head, _ = await get(port, "/ws")
        assert head.startswith("HTTP/1.1 426 ")
        await program.end()


async def test_chat_closes_a_client_that_reads_too_slowly_and_goes_on_with_the_others() -> None:
    async with running("examples/chat.py", "--port", "0") as program:
        url = f"ws://127.0.0.1:{await program.port()}/ws"
        # With a queue of one message, and nobody who receives, this client stops reading very soon.
        async with open_websocket(url, max_queue=1, read_limit=1024) as slow, open_websocket(url) as ada:
            await hear(slow, "welcome")
            await hear(ada, "welcome")
            while await members(url) == 2:
                for _ in range(50):
                    await ada.send(4000 * "x")
                    await hear(ada, "say")
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await slow.receive()
            assert (closed.value.reason.code, closed.value.reason.reason) == (1008, "you read too slowly")
            await ada.send("still here?")
            assert (await hear(ada, "say"))["text"] == "still here?"
        await program.end()


async def members(url: str) -> int:
    """How many are in the chat, as its health check says."""
    _, body = await get(int(url.rpartition(":")[2].partition("/")[0]), "/healthz")
    return int(body.split()[1])


async def test_graceful_shutdown_saves_what_every_client_has_sent(tmp_path: Path) -> None:
    file = tmp_path / "orders.txt"
    async with running("examples/graceful_shutdown.py", "--port", "0", "--orders", str(file)) as program:
        url = f"ws://127.0.0.1:{await program.port()}/"
        async with open_websocket(url) as ada, open_websocket(url) as bob:
            for number in range(20):
                await ada.send(f"ada {number}")
            assert await ada.receive() == "1 noted"
            await bob.send("bob 0")
            assert await bob.receive() == "1 noted"
            program.terminate()
            await rest_of(ada)
            await rest_of(bob)
        await program.end()
    assert program.output.endswith("all orders are saved\n")
    assert sorted(file.read_text().splitlines()) == sorted([*(f"ada {number}" for number in range(20)), "bob 0"])


async def test_health_check_counts_connections_beside_the_websocket() -> None:
    async with running("examples/health_check.py", "--port", "0") as program:
        port = await program.port()
        async with open_websocket(f"ws://127.0.0.1:{port}/") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            head, body = await get(port, "/healthz")
            assert head.startswith("HTTP/1.1 200 ")
            assert json.loads(body)["open_connections"] == 1
            program.terminate()
            assert await rest_of(ws) == []
        await program.end()


@attrs.frozen
class Certificates:
    ca: str
    cert: str
    key: str


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ca = trustme.CA()
    server = ca.issue_cert("localhost")
    paths = Certificates(*(str(folder / name) for name in ("ca.pem", "server.pem", "server.key")))
    ca.cert_pem.write_to_path(paths.ca)
    for blob in server.cert_chain_pems:
        blob.write_to_path(paths.cert, append=True)
    server.private_key_pem.write_to_path(paths.key)
    return paths


@asynccontextmanager
async def tls_server(certificates: Certificates) -> AsyncIterator[str]:
    command = ["examples/tls_server.py", "--cert", certificates.cert, "--key", certificates.key, "--port", "0"]
    async with running(*command) as program:
        yield f"wss://localhost:{await program.port()}/"
        await program.end()


async def test_tls_client_gets_its_answer_from_a_server_it_can_trust(certificates: Certificates) -> None:
    async with tls_server(certificates) as url:
        assert await run("examples/tls_client.py", url, "--ca", certificates.ca) == "hello\n"


async def test_tls_server_is_refused_by_a_client_that_does_not_know_its_authority(certificates: Certificates) -> None:
    async with tls_server(certificates) as url:
        output = await run("examples/tls_client.py", url, status=1)
        assert output.startswith("no connection: ")
        assert "CERTIFICATE_VERIFY_FAILED" in output


async def test_many_clients_all_get_an_answer() -> None:
    async with running(*echo_server()) as program:
        url = f"ws://127.0.0.1:{await program.port()}/"
        assert (await run("examples/many_clients.py", url, "--count", "100")).startswith("100 answers, ")
        await program.end()


async def test_embedded_server_sends_new_values_until_the_program_ends() -> None:
    async with running("examples/embedded.py", "--port", "0", "--interval", "0.01") as program:
        async with open_websocket(f"ws://127.0.0.1:{await program.port()}/") as ws:
            for _ in range(3):
                assert float(await ws.receive()) >= 0
            program.terminate()
            await rest_of(ws)
        assert await program.next_line() == "no clients any longer"
        await program.end()


async def test_adopt_stream_serves_both_ways() -> None:
    async with running("examples/adopt_stream.py") as program:
        one_step, two_steps = await program.port(), await program.port()
        url = f"ws://127.0.0.1:{two_steps}"
        with pytest.raises(ConnectionRejected) as rejected:
            async with open_websocket(url):
                pass
        assert rejected.value.response.status == 404
        with pytest.raises(ConnectionRejected) as rejected:
            async with open_websocket(f"ws://127.0.0.1:{one_step}/", origin="https://example.org"):
                pass
        assert rejected.value.response.status == 403
        async with (
            open_websocket(f"ws://127.0.0.1:{one_step}/", subprotocols=["echo"]) as first,
            open_websocket(f"{url}/echo") as second,
        ):
            assert first.subprotocol == "echo"
            assert second.response.headers["X-Greeting"] == "hello"
            for ws in (first, second):
                await ws.send("hello")
                assert await ws.receive() == "hello"
            program.terminate()
            for ws in (first, second):
                assert await rest_of(ws) == []
        await program.end()


async def test_test_a_handler_passes() -> None:
    output = await run("-m", "pytest", "-p", "no:cacheprovider", "-o", "trio_mode=true", "examples/test_a_handler.py")
    assert re.search(r"\b3 passed\b", output)
