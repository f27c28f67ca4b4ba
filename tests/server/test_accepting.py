"""Accepting when there is nothing left to accept with."""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from tests.raw import MemoryListener
from trio_ws import WebSocketConnection, open_websocket, open_websocket_server, wrap_client_stream


class FailingListener(MemoryListener):
    """Its accept() fails with this error until it is mended."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number: int | None = number
        self.failed: list[float] = []

    def mend(self) -> None:
        self._number = None

    async def accept(self) -> trio.abc.Stream:
        if self._number is not None:
            await trio.lowlevel.checkpoint()
            self.failed.append(trio.current_time())
            raise OSError(self._number, os.strerror(self._number))
        return await super().accept()


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_accept_is_tried_again_until_there_is_something_to_accept_with(
    number: int, autojump_clock: trio.testing.MockClock
) -> None:
    listener = FailingListener(number)
    async with open_websocket_server(echo, listeners=[listener]):
        await trio.sleep(5)
        assert len(listener.failed) == pytest.approx(50, abs=2)
        listener.mend()
        began = trio.current_time()
        async with wrap_client_stream(listener.connect(), "ws://localhost/") as ws:
            assert trio.current_time() - began <= 0.2
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_it_is_said_once_a_minute_and_without_a_traceback(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = FailingListener(errno.EMFILE)
    async with open_websocket_server(echo, listeners=[listener]):
        await trio.sleep(590)
        assert len(listener.failed) > 5000
    lines = [record for record in caplog.records if record.levelno > logging.INFO]
    assert {record.getMessage() for record in lines} == {
        "cannot accept clients: Too many open files; trying again every 0.1 seconds"
    }
    assert len(lines) == 10
    assert not any(record.exc_info for record in lines)


async def test_shutdown_does_not_wait_for_something_to_accept_with(autojump_clock: trio.testing.MockClock) -> None:
    async with open_websocket_server(echo, listeners=[FailingListener(errno.EMFILE)]) as server:
        await trio.sleep(1)
        began = trio.current_time()
        await server.aclose()
        assert trio.current_time() == began


@pytest.mark.parametrize("clients", [0, 1])
async def test_listener_that_somebody_closes_ends_the_server(clients: int) -> None:
    # At which turn of the scheduler the listener has heard of the client differs.
    for turns in [0, 1, 2] * 10:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        with ExitStack() as stack, pytest.raises(trio.ClosedResourceError):
            async with open_websocket_server(echo, listeners=[listener]) as server:
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(clients):
                    stack.enter_context(socket.create_connection(listener.socket.getsockname()))
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                listener.socket.close()
                await server.wait_closed()


async def test_listener_that_is_closed_at_once_ends_the_server() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with pytest.raises(trio.ClosedResourceError):
        async with open_websocket_server(echo, listeners=[listener]) as server:
            listener.socket.close()
            await server.wait_closed()


async def test_two_servers_share_a_listening_socket() -> None:
    (first,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    second = trio.SocketListener(first.socket.dup())
    async with (
        open_websocket_server(echo, listeners=[first]) as one,
        open_websocket_server(echo, listeners=[second]) as other,
    ):
        for _ in range(10):
            async with open_websocket(f"ws://127.0.0.1:{one.port}/") as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
        assert one.statistics().accepted + other.statistics().accepted == 10


async def test_another_failure_of_accept_ends_the_server(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(OSError, match="Bad address"):
        async with open_websocket_server(echo, listeners=[FailingListener(errno.EFAULT)]) as server:
            await server.wait_closed()
