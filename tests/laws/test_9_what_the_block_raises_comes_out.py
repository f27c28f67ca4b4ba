"""Law 9: what the user's block raises is what comes out; no ExceptionGroup of ours, and Cancelled stays Cancelled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import REQUEST, MemoryListener, RawPeer
from trio_ws import (
    HandshakeTimeout,
    open_websocket,
    open_websocket_server,
    receive_upgrade,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_ws.testing import open_connection_pair

Scope = Callable[[], AbstractAsyncContextManager[Any]]


async def nothing(ws: object) -> None:
    pass


def server() -> AbstractAsyncContextManager[Any]:
    return open_websocket_server(nothing, listeners=[MemoryListener()])


@asynccontextmanager
async def server_stream() -> Any:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(REQUEST)
    async with wrap_server_stream(ours, close_timeout=1) as ws:
        yield ws


@asynccontextmanager
async def upgrade() -> Any:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(REQUEST)
    async with receive_upgrade(ours, close_timeout=1) as upgrade, upgrade.accept() as ws:
        yield ws


@asynccontextmanager
async def client_stream() -> Any:
    ours, theirs = trio.testing.memory_stream_pair()
    error = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(RawPeer(theirs).open_as_server)
        try:
            async with wrap_client_stream(ours, "ws://localhost/", close_timeout=1) as ws:
                yield ws
        except BaseException as exc:
            error = exc
    if error is not None:
        raise error


SCOPES = [server, server_stream, client_stream, upgrade, open_connection_pair]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit, StopAsyncIteration, trio.EndOfChannel])
async def test_exception_comes_out_as_it_went_in(
    scope: Scope, error: type[BaseException], autojump_clock: trio.testing.MockClock
) -> None:
    raised = error("mine")
    caught: BaseException | None = None
    try:
        async with scope():
            raise raised
    except BaseException as exc:
        caught = exc
    assert caught is raised


@pytest.mark.parametrize("scope", SCOPES)
async def test_exception_group_of_the_users_comes_out_as_it_went_in(
    scope: Scope, autojump_clock: trio.testing.MockClock
) -> None:
    raised = ExceptionGroup("mine", [KeyError(1), ValueError(2)])
    caught: BaseException | None = None
    try:
        async with scope():
            raise raised
    except BaseException as exc:
        caught = exc
    assert caught is raised


@pytest.mark.parametrize("scope", SCOPES)
async def test_cancelled_stays_cancelled(scope: Scope, autojump_clock: trio.testing.MockClock) -> None:
    seen: list[type[BaseException]] = []
    with trio.move_on_after(1) as cancel_scope:
        try:
            async with scope():
                await trio.sleep_forever()
        except BaseException as exc:
            seen.append(type(exc))
            raise
    assert cancel_scope.cancelled_caught
    assert seen == [trio.Cancelled]


@pytest.mark.parametrize("scope", SCOPES)
async def test_cancelled_while_leaving_stays_cancelled(scope: Scope, autojump_clock: trio.testing.MockClock) -> None:
    seen: list[type[BaseException]] = []
    with trio.CancelScope() as cancel_scope:
        try:
            async with scope():
                cancel_scope.cancel()
        except BaseException as exc:
            seen.append(type(exc))
            raise
    assert seen in ([], [trio.Cancelled])


async def test_failure_to_connect_is_raised_bare(autojump_clock: trio.testing.MockClock) -> None:
    ours, _theirs = trio.testing.memory_stream_pair()
    with pytest.raises(HandshakeTimeout) as caught:
        async with wrap_client_stream(ours, "ws://localhost/", open_timeout=1):
            raise AssertionError("it should not have opened")
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(ValueError, match="ftp"):
        async with open_websocket("ftp://localhost/"):
            raise AssertionError("it should not have opened")
