"""Law 8: one handler's failure is one connection's failure; a switch makes it propagate."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import TEXT, MemoryListener, RawPeer, close, frame
from trio_ws import ConnectionClosedError, WebSocketConnection, WebSocketServer, open_websocket_server


@asynccontextmanager
async def running(handler: Any, **options: Any) -> AsyncIterator[tuple[WebSocketServer, MemoryListener]]:
    listener = MemoryListener()
    async with open_websocket_server(handler, listeners=[listener], **options) as server:
        yield server, listener


async def connect(listener: MemoryListener) -> RawPeer:
    peer = RawPeer(listener.connect())
    await peer.open_as_client()
    return peer


async def fails_on_request(ws: WebSocketConnection) -> None:
    async for message in ws:
        if message == "fail":
            raise ValueError("a bug in the handler")
        await ws.send(message)


async def test_failing_handler_is_logged_and_closes_its_connection_only(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(fails_on_request) as (server, listener):
        others = [await connect(listener) for _ in range(20)]
        failing = await connect(listener)
        await failing.send(frame(TEXT, b"fail"))
        received = await failing.receive()
        assert received is not None
        assert received.close_code == 1011
        await failing.send(close(1011))
        for peer in others:
            await peer.send(frame(TEXT, b"well?"))
            answer = await peer.receive()
            assert answer is not None
            assert answer.payload == b"well?"
            await peer.send(close())
        assert server.statistics().handlers_failed == 1
    failures = [record for record in caplog.records if record.exc_info]
    assert [(record.levelname, record.name) for record in failures] == [("ERROR", "trio_ws.server")]
    assert "a bug in the handler" in caplog.text


async def test_exception_group_of_a_handlers_own_nursery_is_a_failure_like_any_other(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fails_on_request, ws)

    async with running(handler) as (_, listener):
        peer = await connect(listener)
        await peer.send(frame(TEXT, b"fail"))
        received = await peer.receive()
        assert received is not None
        assert received.close_code == 1011
        await peer.send(close(1011))
    assert "a bug in the handler" in caplog.text


async def _alone(ws: WebSocketConnection) -> None:
    while True:
        await ws.receive()


async def _in_two_tasks(ws: WebSocketConnection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_alone, ws)
        nursery.start_soon(_alone, ws)


@pytest.mark.parametrize("handler", [_alone, _in_two_tasks])
@pytest.mark.parametrize("handler_errors", ["log", "raise"])
async def test_client_that_just_went_away_is_no_failure(
    handler: Any, handler_errors: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_ws")
    async with running(handler, handler_errors=handler_errors) as (server, listener):
        peer = await connect(listener)
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().handlers_failed == 0
        assert server.statistics().open_connections == 0
    assert not any(record.exc_info for record in caplog.records)
    assert "without a closing handshake" in caplog.text


async def test_end_of_another_connection_is_a_failure(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that passes on what another connection did to it."""
    first: list[WebSocketConnection] = []

    async def handler(ws: WebSocketConnection) -> None:
        first.append(ws)
        if len(first) == 1:
            await ws.wait_closed()
        else:
            await first[0].receive()

    async with running(handler) as (server, listener):
        one, two = await connect(listener), await connect(listener)
        await one.stream.aclose()
        received = await two.receive()
        assert received is not None
        assert received.close_code == 1011
        await two.send(close(1011))
        assert server.statistics().handlers_failed == 1


async def test_switch_makes_a_failure_propagate_bare_and_ends_the_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(ValueError, match="a bug in the handler"):
        async with running(fails_on_request, handler_errors="raise") as (_, listener):
            other, failing = await connect(listener), await connect(listener)
            await failing.send(frame(TEXT, b"fail"), close(1011))
            await trio.sleep_forever()
    for peer, code in [(failing, 1011), (other, 1001)]:
        received = await peer.receive()
        assert received is not None
        assert received.close_code == code


async def test_handler_that_fails_while_it_is_cancelled_is_logged_and_stays_cancelled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("a bug in the clean-up")

    async with running(handler, shutdown_timeout=1) as (server, listener):
        await connect(listener)
        await server.aclose()
    assert "a bug in the clean-up" in caplog.text


async def test_keyboard_interrupt_in_a_handler_ends_the_program(autojump_clock: trio.testing.MockClock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with running(handler) as (_, listener):
            await connect(listener)
            await trio.sleep_forever()


def test_handler_errors_is_log_or_raise() -> None:
    async def main() -> None:
        async with running(fails_on_request, handler_errors="ignore"):
            raise AssertionError("it should not have started")

    with pytest.raises(ValueError, match="handler_errors"):
        trio.run(main)


async def test_error_of_a_connection_that_is_used_after_its_end_is_no_failure_either(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
        await ws.send("too late")

    async with running(handler) as (server, listener):
        peer = await connect(listener)
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().handlers_failed == 0
