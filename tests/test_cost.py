"""What a message and a connection may cost, counted: noise moves no count, so a bound that is broken is a regression.

``python -m tests.test_cost`` prints the counts as the tables below have them.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import TEXT, RawPeer, frames
from tests.sides import CLIENT, SERVER, Side
from tests.zlib_peer import ALWAYS, FIELD, RSV1, Half, request
from trio_ws import (
    ConnectionClosed,
    WebSocketConnection,
    accelerated,
    open_websocket_server,
    wrap_client_stream,
    wrap_server_stream,
)

#: For each echoed message of 64 bytes, by our role, compression, and how many messages are in flight: calls of
#: functions, in Python and in C, those of Trio included; system calls; steps of Trio's scheduler.
#: CPython 3.11, 3.12 and 3.13 differ by less than 0.1 call. When something has become cheaper, lower the bound to a
#: little above what is printed then.
PER_MESSAGE = {
    "server, plain, 1": (120, 4.1, 1.1),
    "server, plain, 64": (46, 0.11, 0.09),
    "server, deflate, 1": (151, 4.1, 1.1),
    "server, deflate, 64": (83, 0.11, 0.09),
    "client, plain, 1": (123, 5.1, 1.1),
    "client, plain, 64": (48, 1.11, 0.09),
    "client, deflate, 1": (154, 5.1, 1.1),
    "client, deflate, 64": (85, 1.11, 0.09),
}
#: So many calls more are made for each of them without the C extension.
IN_PYTHON = 9

#: For each idle connection with its handler: objects that the garbage collector knows, and bytes of heap. A client has
#: a keepalive clock and a nursery of its own. Compression takes no more before the first compressed message.
PER_CONNECTION = {
    "server, plain": (75, 11_600),
    "server, deflate": (76, 11_900),
    "client, plain": (158, 24_700),
    "client, deflate": (160, 25_900),
}

#: For each connection to a server that is opened and closed again by its client, whose request has come by the time it
#: is accepted: the same three.
PER_HANDSHAKES = {"plain": (640, 16.5, 6.5), "deflate": (705, 16.5, 6.5)}

MESSAGES, WARM_UP = 1280, 320
#: Messages that are counted together, a multiple of what is in flight. Of several such counts the least is taken: on a
#: busy machine tasks and clocks run that would not have to.
TOGETHER = 64
CONNECTIONS, ROUNDS = 50, 4
SYSTEM_CALLS = {"read", "write", "writev", "urandom"}
SYSTEM_CALLS |= {f"socket.{name}" for name in ("recv", "recv_into", "recvmsg", "send", "sendmsg")}
SYSTEM_CALLS |= {f"socket.{name}" for name in ("_accept", "close", "getpeername", "getsockname", "setsockopt")}
SYSTEM_CALLS |= {f"epoll.{name}" for name in ("poll", "modify", "register", "unregister")}
TEXT_OF_64_BYTES = '{"room": "general", "user": "alice", "text": "hello, everybody"}'


# One connection, and a peer in a thread of its own, which is not counted


@asynccontextmanager
async def connection(side: Side, compression: bool, **options: Any) -> AsyncIterator[tuple[WebSocketConnection, int]]:
    """Our side, and the file descriptor of the peer's socket."""
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
    deflate = ALWAYS if compression else None
    async with trio.open_nursery() as nursery:
        peer = RawPeer(theirs)
        if side.role == "server":
            nursery.start_soon(peer.open_as_client, request(["permessage-deflate"]))
            opening = wrap_server_stream(ours, compression=deflate, close_timeout=1)
        else:
            nursery.start_soon(peer.open_as_server, *([f"{FIELD}: permessage-deflate"] if compression else []))
            opening = wrap_client_stream(ours, "ws://localhost/", compression=deflate, close_timeout=1)
        async with opening as ws:
            await peer.opened.wait()
            number = theirs.socket.detach()
            del peer
            yield ws, number


def exchange(side: Side, compression: bool, number: int, in_flight: int) -> None:
    """Send and receive, as the peer; so many messages are under way at a time."""
    half, received = Half(), b""
    with socket.socket(fileno=number) as peer:
        peer.settimeout(60)
        for _ in range((WARM_UP + MESSAGES) // in_flight):
            batch = b""
            for _ in range(in_flight):
                payload = TEXT_OF_64_BYTES.encode()
                batch += side.frame(TEXT, half.compress(payload) if compression else payload, rsv=compression * RSV1)
            peer.sendall(batch)
            received = b""
            while sum(1 for _ in frames(received)) < in_flight:
                received += peer.recv(2**16)


async def echo(
    side: Side, compression: bool, in_flight: int, begin: Callable[[], None], end: Callable[[], None]
) -> None:
    async with connection(side, compression) as (ws, number), trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, exchange, side, compression, number, in_flight)
        count = 0
        with suppress(ConnectionClosed):
            async for message in ws:
                await ws.send(message)
                count += 1
                if count >= WARM_UP and (count - WARM_UP) % TOGETHER == 0:
                    if count > WARM_UP:
                        end()
                    if count < WARM_UP + MESSAGES:
                        begin()


def calls(act: Callable[..., Any], *case: Any) -> tuple[int, int]:
    """The least number of calls, and of system calls, between ``begin`` and ``end``, which are called several times."""
    counted: Counter[str] = Counter()
    found: list[tuple[int, int]] = []

    def count(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            counted["calls"] += 1
        elif event == "c_call":
            counted["calls"] += 1
            counted["system calls"] += function.__qualname__ in SYSTEM_CALLS

    def begin() -> None:
        counted.clear()
        sys.setprofile(count)

    def end() -> None:
        sys.setprofile(None)
        found.append((counted["calls"], counted["system calls"]))

    trio.run(act, *case, begin, end)
    return min(calls for calls, _ in found), min(system_calls for _, system_calls in found)


class Steps(trio.abc.Instrument):
    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


def steps(act: Callable[..., Any], *case: Any) -> int:
    steps = Steps()
    found: list[int] = []

    def begin() -> None:
        steps.count = 0
        trio.lowlevel.add_instrument(steps)

    def end() -> None:
        trio.lowlevel.remove_instrument(steps)
        found.append(steps.count)

    trio.run(act, *case, begin, end)
    return min(found)


def cost(act: Callable[..., Any], *case: Any, times: int) -> tuple[float, ...]:
    return tuple(count / times for count in (*calls(act, *case), steps(act, *case)))


# Many that come and go, all at the same time


async def come_and_go(compression: bool, begin: Callable[[], None], end: Callable[[], None]) -> None:
    head = request(["permessage-deflate"])
    options: Any = {"compression": ALWAYS if compression else None}
    async with open_websocket_server(be_idle, "127.0.0.1", 0, **options) as server:
        for round_ in range(1 + ROUNDS):  # the first is a warm-up
            with ExitStack() as stack:
                peers = [
                    stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                    for _ in range(CONNECTIONS)
                ]
                for peer in peers:
                    peer.sendall(head)
                if round_:
                    begin()
                await trio.testing.wait_all_tasks_blocked(0.01)
                for peer in peers:
                    peer.sendall(SERVER.close())
                await trio.testing.wait_all_tasks_blocked(0.01)
                if round_:
                    end()
        assert server.statistics().accepted == (1 + ROUNDS) * CONNECTIONS


# Many connections, on which nothing happens


async def be_idle(ws: WebSocketConnection) -> None:
    with suppress(ConnectionClosed):
        await ws.receive()


async def heap_per_connection(open_one: Callable[[], Any]) -> tuple[float, float]:
    """``open_one`` opens a connection that stays open."""
    for _ in range(10):
        await open_one()
    before = await _heap()
    for _ in range(CONNECTIONS):
        await open_one()
    after = await _heap()
    return (after[0] - before[0]) / CONNECTIONS, (after[1] - before[1]) / CONNECTIONS


async def _heap() -> tuple[int, int]:
    await trio.testing.wait_all_tasks_blocked(0.01)
    gc.collect()
    return len(gc.get_objects()), tracemalloc.get_traced_memory()[0]


async def idle_on_a_server(compression: bool) -> tuple[float, float]:
    """Its clients are file descriptors."""
    options: Any = {"compression": ALWAYS if compression else None, "shutdown_timeout": 0.01}
    clients: list[int] = []
    async with open_websocket_server(be_idle, "127.0.0.1", 0, **options) as server:

        async def open_one() -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await RawPeer(stream).open_as_client(request(["permessage-deflate"]))
            clients.append(stream.socket.detach())

        found = await heap_per_connection(open_one)
        for number in clients:
            os.close(number)
    return found


async def idle_as_client(compression: bool) -> tuple[float, float]:
    peers: list[int] = []
    async with trio.open_nursery() as nursery:

        async def open_one() -> None:
            await nursery.start(stay_open)

        async def stay_open(task_status: trio.TaskStatus[None]) -> None:
            async with connection(CLIENT, compression) as (ws, number):
                peers.append(number)
                task_status.started()
                await be_idle(ws)

        found = await heap_per_connection(open_one)
        for number in peers:
            os.close(number)
    return found


# The tables


def measure() -> dict[str, dict[str, tuple[float, ...]]]:
    per_message: dict[str, tuple[float, ...]] = {}
    for side in (SERVER, CLIENT):
        for compression in (False, True):
            for in_flight in (1, 64):
                case = (side, compression, in_flight)
                name = f"{side.role}, {'deflate' if compression else 'plain'}, {in_flight}"
                per_message[name] = cost(echo, *case, times=TOGETHER)
    per_handshakes = {
        name: cost(come_and_go, compression, times=CONNECTIONS)
        for name, compression in (("plain", False), ("deflate", True))
    }
    per_connection: dict[str, tuple[float, ...]] = {}
    tracemalloc.start()
    for compression in (False, True):
        kind = "deflate" if compression else "plain"
        per_connection[f"server, {kind}"] = trio.run(idle_on_a_server, compression)
        per_connection[f"client, {kind}"] = trio.run(idle_as_client, compression)
    return {"PER_MESSAGE": per_message, "PER_HANDSHAKES": per_handshakes, "PER_CONNECTION": per_connection}


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, list[float]]]:
    """In a process of its own, where nothing else has been counted or traced."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    command = [sys.executable, "-m", "tests.test_cost"]
    root = Path(__file__).parent.parent
    run = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    found: dict[str, dict[str, list[float]]] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("case", PER_MESSAGE)
def test_message_costs_no_more_than_its_bound(case: str, counted: dict[str, dict[str, list[float]]]) -> None:
    calls, system_calls, steps = PER_MESSAGE[case]
    bounds = calls + (0 if accelerated else IN_PYTHON), system_calls, steps
    for count, bound in zip(counted["PER_MESSAGE"][case], bounds, strict=True):
        assert count <= bound


@pytest.mark.parametrize("case", PER_HANDSHAKES)
def test_handshakes_cost_no_more_than_their_bound(case: str, counted: dict[str, dict[str, list[float]]]) -> None:
    calls, system_calls, steps = PER_HANDSHAKES[case]
    bounds = calls + (0 if accelerated else IN_PYTHON), system_calls, steps
    for count, bound in zip(counted["PER_HANDSHAKES"][case], bounds, strict=True):
        assert count <= bound


@pytest.mark.parametrize("case", PER_CONNECTION)
def test_idle_connection_costs_no_more_than_its_bound(case: str, counted: dict[str, dict[str, list[float]]]) -> None:
    for count, bound in zip(counted["PER_CONNECTION"][case], PER_CONNECTION[case], strict=True):
        assert count <= bound


if __name__ == "__main__":
    print(json.dumps(measure(), indent=4))
