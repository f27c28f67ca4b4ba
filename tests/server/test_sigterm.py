"""SIGTERM, as a supervisor sends it, to a server that is a program of its own."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.raw import CLOSE, REQUEST, RawPeer, frames
from trio_ws import CloseReason, ConnectionClosed, open_websocket

PROGRAM = Path(__file__).parent / "programs" / "counting_server.py"

#: Seconds that a test may take in all.
LIMIT = 120


class Program:
    """The counting server, running."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.port = 0
        self._output = b""

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self._output:
            data = await self.process.stdout.receive_some()
            assert data, f"the server said no more than {self._output!r}"
            self._output += data
        line, _, self._output = self._output.partition(b"\n")
        return line

    async def start(self) -> None:
        self.port = int(await self._line())

    async def counts(self) -> Any:
        return json.loads(await self._line())


@asynccontextmanager
async def counting_server(shutdown_timeout: float) -> AsyncIterator[Program]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with trio.fail_after(LIMIT):
        process = await trio.lowlevel.open_process(
            [sys.executable, PROGRAM, str(shutdown_timeout)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            program = Program(process)
            await program.start()
            yield program
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()


class Client:
    """Sends and expects numbers until the connection closes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent = self.received = 0
        self.reason: CloseReason | None = None

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        async with open_websocket(self.url, open_timeout=60, close_timeout=30) as ws, trio.open_nursery() as nursery:
            task_status.started()

            async def send() -> None:
                try:
                    while True:
                        await ws.send(str(self.sent))
                        self.sent += 1
                        await trio.sleep(0.5)
                except ConnectionClosed:
                    pass

            nursery.start_soon(send)
            async for message in ws:
                assert message == str(self.received)
                self.received += 1
            self.reason = ws.close_reason


async def start_clients(nursery: trio.Nursery, port: int, count: int) -> list[Client]:
    clients = [Client(f"ws://127.0.0.1:{port}/{number}") for number in range(count)]
    for start in range(0, count, 50):  # a listener's backlog is finite
        async with trio.open_nursery() as starting:
            for client in clients[start : start + 50]:
                starting.start_soon(nursery.start, client.run)
    return clients


async def connect_raw(port: int, path: str) -> RawPeer:
    peer = RawPeer(await trio.open_tcp_stream("127.0.0.1", port))
    await peer.open_as_client(REQUEST.replace(b"/chat", path.encode()))
    return peer


def check(clients: list[Client], counts: Any) -> None:
    for number, client in enumerate(clients):
        name = f"/{number}"
        assert client.reason is not None, name
        assert client.reason.received_code == 1001, (name, client.reason)
        assert client.received == counts["sent"][name], name
        assert client.sent == counts["received"][name], name
        assert counts["ended"][name] == "politely", name


async def test_sigterm_says_1001_to_a_thousand_clients_and_loses_nothing() -> None:
    shutdown_timeout = 20
    async with counting_server(shutdown_timeout) as program, trio.open_nursery() as nursery:
        clients = await start_clients(nursery, program.port, 1000)
        await trio.sleep(1)
        began = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        counts = await program.counts()
        assert await program.process.wait() == 0
        assert time.monotonic() - began < shutdown_timeout + 1
    check(clients, counts)
    assert sum(client.sent for client in clients) > 1000


async def test_sigterm_with_a_hundred_clients_that_do_not_read() -> None:
    shutdown_timeout = 8
    async with counting_server(shutdown_timeout) as program, trio.open_nursery() as nursery:
        stalled = [await connect_raw(program.port, "/flood") for _ in range(100)]
        clients = await start_clients(nursery, program.port, 900)
        await trio.sleep(1)
        began = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        counts = await program.counts()
        assert await program.process.wait() == 0
        assert time.monotonic() - began < shutdown_timeout + 1
        for peer in stalled:
            await peer.stream.aclose()
    check(clients, counts)


async def test_sigterm_cancels_a_handler_that_sleeps_at_the_deadline() -> None:
    async with counting_server(1) as program:
        peer = await connect_raw(program.port, "/sleep")
        began = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        received = await peer.receive()
        assert received is not None
        assert (received.opcode, received.close_code) == (CLOSE, 1001)
        counts = await program.counts()
        assert await program.process.wait() == 0
        assert 1 <= time.monotonic() - began < 3
        assert counts["ended"] == {"/sleep": "cancelled"}
        await peer.stream.aclose()


async def test_second_sigterm_ends_it_at_once() -> None:
    async with counting_server(60) as program:
        peer = await connect_raw(program.port, "/sleep")
        program.process.send_signal(signal.SIGTERM)
        assert await peer.receive() is not None
        began = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        await program.counts()
        assert await program.process.wait() == 0
        assert time.monotonic() - began < 3
        await peer.stream.aclose()


async def test_ctrl_c_says_1001_and_is_a_keyboard_interrupt() -> None:
    async with counting_server(60) as program:
        peer = await connect_raw(program.port, "/0")
        # Its first message: the handler runs. An interrupt before that could hit any line of the program.
        assert await peer.receive() is not None
        program.process.send_signal(signal.SIGINT)
        data = await peer.read_to_end()
        assert [received.close_code for received in frames(data) if received.opcode == CLOSE] == [1001]
        assert await program.process.wait() in (1, -signal.SIGINT)
        await peer.stream.aclose()


@pytest.mark.parametrize("path", ["/sleep", "/0"])
async def test_sigterm_right_after_the_handshake(path: str) -> None:
    async with counting_server(1) as program:
        peer = await connect_raw(program.port, path)
        program.process.send_signal(signal.SIGTERM)
        data = await peer.read_to_end()
        assert [received.close_code for received in frames(data) if received.opcode == CLOSE] == [1001]
        await peer.stream.aclose()
        assert await program.process.wait() == 0
