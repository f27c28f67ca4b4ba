"""How to test a handler: both ends of a connection in memory, and a clock that jumps.

Type::

    pytest -o trio_mode=true examples/test_a_handler.py

It takes no time, although one of the tests is about a minute of silence.
"""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_ws import ConnectionClosedError, WebSocketConnection
from trio_ws.testing import open_connection_pair


async def shout(ws: WebSocketConnection) -> None:
    """The handler under test: answers in capitals, and closes on a client that says nothing for a minute."""
    while True:
        with trio.move_on_after(60) as patience:
            message = await ws.receive()
        if patience.cancelled_caught:
            await ws.aclose(1008, "you are very quiet")
            return
        await ws.send(str(message).upper())


async def test_answers_in_capitals(nursery: trio.Nursery) -> None:
    async with open_connection_pair() as (client, server):
        nursery.start_soon(shout, server)
        await client.send("hello")
        assert await client.receive() == "HELLO"
        nursery.cancel_scope.cancel()


async def test_silent_client_is_closed_after_a_minute(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with open_connection_pair() as (client, server):
        nursery.start_soon(shout, server)
        began = trio.current_time()
        with pytest.raises(ConnectionClosedError) as caught:
            await client.receive()
        assert caught.value.reason.code == 1008
        assert trio.current_time() - began == pytest.approx(60)


async def test_slow_client_gets_everything_it_asked_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    # In lockstep a send waits until the peer reads, as on a network whose buffers are full.
    async with open_connection_pair(lockstep=True) as (client, server):
        nursery.start_soon(shout, server)
        nursery.start_soon(client.send, "a")
        nursery.start_soon(client.send, "b")
        await trio.sleep(50)
        assert {await client.receive(), await client.receive()} == {"A", "B"}
        nursery.cancel_scope.cancel()
