"""Everything that waits, cancelled at each of its checkpoints and on a stream that fails at each of its calls.

After every run no task, no file descriptor and no torn frame is left (``tests/sweep.py`` and the raw peer see to that),
nothing hangs, and what is documented about cancellation holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
import trio.testing

from tests.raw import CLOSE, PING, PONG, REQUEST, TEXT, MemoryListener, RawPeer, close, frame, frames, raw_client, torn
from tests.sweep import Region, cancel_everywhere, fail_everywhere
from trio_ws import (
    ConnectionClosed,
    ConnectionClosedError,
    HandshakeError,
    WebSocketConnection,
    connect_websocket,
    open_websocket,
    open_websocket_server,
    serve_websocket,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_ws.testing import FaultyStream, open_connection_pair


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def answer(peer: RawPeer, seen: list[int]) -> None:
    """A polite peer: answers pings and the close, and ends the stream behind that."""
    while (received := await peer.receive()) is not None:
        seen.append(received.opcode)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if received.opcode == PING:
                await peer.send(frame(PONG, received.payload))
            if received.opcode == CLOSE:
                await peer.send(close(received.close_code))
                await peer.stream.aclose()
                return


# Opening


def test_connect() -> None:
    async def scenario(region: Region) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = RawPeer(theirs)
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                with suppress(AssertionError, trio.BrokenResourceError):  # the client may go away at any time
                    await peer.open_as_server()
                    await peer.send(frame(TEXT, b"hello", mask=False))

            nursery.start_soon(serve)
            with region:
                async with wrap_client_stream(FaultyStream(ours), "ws://localhost/", close_timeout=1) as ws:
                    assert await ws.receive() == "hello"
            data = await peer.read_to_end()
            nursery.cancel_scope.cancel()
        assert not torn(data)
        assert [received.opcode for received in frames(data)] in ([], [CLOSE])

    assert cancel_everywhere(scenario) > 5


def test_connect_to_a_stream_that_fails() -> None:
    async def scenario(call: int) -> int:
        ours, theirs = trio.testing.memory_stream_pair()
        stream = FaultyStream(ours, fail_at_call=call)
        peer = RawPeer(theirs)
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                with suppress(AssertionError, trio.BrokenResourceError):
                    await peer.open_as_server()
                    await answer(peer, [])

            nursery.start_soon(serve)
            with suppress(HandshakeError):
                async with wrap_client_stream(stream, "ws://localhost/", close_timeout=1) as ws:
                    with suppress(ConnectionClosedError):
                        await ws.send("hello")
                        await ws.ping()
        return stream.calls

    assert fail_everywhere(scenario) > 4


def test_accept() -> None:
    async def scenario(region: Region) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = RawPeer(theirs)

        async def hook(request: object) -> None:
            await trio.sleep(1)

        async with trio.open_nursery() as nursery:

            async def connect() -> None:
                for start in range(0, len(REQUEST), 50):
                    with suppress(trio.BrokenResourceError):
                        await peer.send(REQUEST[start : start + 50])
                    await trio.sleep(0.1)

            nursery.start_soon(connect)
            with region:
                async with wrap_server_stream(ours, process_request=hook, close_timeout=1):
                    pass
            data = await peer.read_to_end()
        head, _, rest = data.partition(b"\r\n\r\n")
        assert head == b"" or head.startswith(b"HTTP/1.1 101 ")
        assert not torn(rest)
        assert [received.opcode for received in frames(rest)] in ([], [CLOSE])

    assert cancel_everywhere(scenario) > 8


def test_accept_on_a_stream_that_fails() -> None:
    async def scenario(call: int) -> int:
        ours, theirs = trio.testing.memory_stream_pair()
        stream = FaultyStream(ours, fail_at_call=call, read_limit=40)
        peer = RawPeer(theirs)
        await peer.send(REQUEST, frame(TEXT, b"early"), close())
        with suppress(HandshakeError):
            async with wrap_server_stream(stream, close_timeout=1) as ws:
                with suppress(ConnectionClosed):
                    await echo(ws)
        return stream.calls

    assert fail_everywhere(scenario) > 5


def test_refuse_on_a_stream_that_fails() -> None:
    async def scenario(call: int) -> int:
        ours, theirs = trio.testing.memory_stream_pair()
        stream = FaultyStream(ours, fail_at_call=call)
        await theirs.send_all(REQUEST.replace(b"13", b"12"))
        with suppress(HandshakeError):
            async with wrap_server_stream(stream, close_timeout=1):
                raise AssertionError("it should have been refused")
        return stream.calls

    assert fail_everywhere(scenario) > 3


# An open connection


def sweep_an_open_connection(
    operation: Callable[[WebSocketConnection], Awaitable[Any]],
    afterwards: Callable[[WebSocketConnection, bool], Awaitable[Any]],
    *,
    incoming: tuple[bytes, ...] = (),
    at_least: int,
) -> None:
    """Cancel ``operation`` everywhere; ``afterwards`` checks the connection, told whether it was cancelled."""

    async def scenario(region: Region) -> None:
        seen: list[int] = []
        async with raw_client(close_timeout=1) as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(answer, peer, seen)

            async def later() -> None:
                await trio.sleep(1)
                for data in incoming:
                    await peer.send(data)
                    await trio.sleep(1)

            nursery.start_soon(later)
            with region:
                await operation(ws)
            await afterwards(ws, region.cancelled)
            await ws.aclose()

    assert cancel_everywhere(scenario) >= at_least


def test_receive_loses_nothing() -> None:
    messages: list[str | bytes] = []

    async def receive(ws: WebSocketConnection) -> None:
        messages.clear()
        for _ in range(3):
            messages.append(await ws.receive())

    async def rest_is_there(ws: WebSocketConnection, cancelled: bool) -> None:
        while len(messages) < 3:
            messages.append(await ws.receive())
        assert messages == ["a", "bc", "d"]

    sweep_an_open_connection(
        receive,
        rest_is_there,
        incoming=(
            frame(TEXT, b"a"),
            frame(TEXT, b"b", fin=False),
            frame(0, b"c") + frame(TEXT, b"d"),
        ),
        at_least=3,
    )


def test_receive_fragments_loses_nothing_before_it_is_entered() -> None:
    entered = False

    async def receive_in_pieces(ws: WebSocketConnection) -> None:
        nonlocal entered
        entered = False
        async with ws.receive_fragments() as pieces:
            entered = True
            async for _ in pieces:
                pass

    async def next_message_is_whole(ws: WebSocketConnection, cancelled: bool) -> None:
        if not entered:
            assert await ws.receive() == "abc"
        assert await ws.receive() == "next"

    sweep_an_open_connection(
        receive_in_pieces,
        next_message_is_whole,
        incoming=(frame(TEXT, b"a", fin=False), frame(0, b"b", fin=False), frame(0, b"c"), frame(TEXT, b"next")),
        at_least=4,
    )


def test_ping_leaves_the_connection_usable() -> None:
    async def still_usable(ws: WebSocketConnection, cancelled: bool) -> None:
        assert await ws.ping() >= 0
        await ws.send("fine")

    sweep_an_open_connection(lambda ws: ws.ping(), still_usable, at_least=1)


def test_wait_closed_has_no_effect() -> None:
    async def wait_a_moment(ws: WebSocketConnection) -> None:
        with trio.move_on_after(1):
            await ws.wait_closed()

    async def still_usable(ws: WebSocketConnection, cancelled: bool) -> None:
        assert ws.close_reason is None
        assert await ws.ping() >= 0

    sweep_an_open_connection(wait_a_moment, still_usable, at_least=1)


def test_aclose_closes_whatever_happens() -> None:
    async def is_closed(ws: WebSocketConnection, cancelled: bool) -> None:
        with trio.fail_after(1):
            await ws.wait_closed()

    sweep_an_open_connection(lambda ws: ws.aclose(), is_closed, at_least=1)


def test_send_fragments_completes_the_message_or_closes() -> None:
    async def send(ws: WebSocketConnection) -> None:
        async def slowly() -> Any:
            for text in ("a", "b", "c"):
                yield text
                await trio.sleep(1)

        generator = slowly()
        try:
            await ws.send_fragments(generator)
        finally:
            await generator.aclose()

    async def whole_or_closed(ws: WebSocketConnection, cancelled: bool) -> None:
        try:
            await ws.send("next")
        except ConnectionClosedError:
            assert cancelled
            assert (await ws.wait_closed()).code in (1006, 1011)

    sweep_an_open_connection(send, whole_or_closed, at_least=6)


def test_open_connection_on_a_stream_that_fails() -> None:
    async def scenario(call: int) -> int:
        streams: list[FaultyStream] = []

        def wrap(stream: trio.abc.Stream) -> FaultyStream:
            streams.append(FaultyStream(stream, fail_at_call=call))
            return streams[0]

        async with raw_client(wrap=wrap, close_timeout=1) as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(answer, peer, [])
            with suppress(ConnectionClosedError):
                await ws.send("one")
                await ws.ping()
                await ws.send_fragments(["a", "b"])
                await peer.send(frame(PING, b"?"), frame(TEXT, b"a", fin=False), frame(0, b"b"))
                assert await ws.receive() == "ab"
            await ws.aclose()
            await peer.stream.aclose()
        return streams[0].calls

    assert fail_everywhere(scenario, first=3) > 8


def test_pair_of_connections() -> None:
    async def scenario(region: Region) -> None:
        with region:
            async with open_connection_pair() as (client, server):
                await client.send("to the server")
                assert await server.receive() == "to the server"
                await server.ping()

    assert cancel_everywhere(scenario) > 5


# A server


def test_shutdown_of_a_server() -> None:
    async def scenario(region: Region) -> None:
        listener = MemoryListener()
        seen: list[int] = []
        async with trio.open_nursery() as nursery:
            async with open_websocket_server(echo, listeners=[listener], shutdown_timeout=5) as server:
                peers = [RawPeer(listener.connect()) for _ in range(3)]
                for peer in peers:
                    await peer.open_as_client()
                nursery.start_soon(answer, peers[0], seen)
                with region:
                    await server.aclose()
                with trio.fail_after(6):
                    await server.wait_closed()
            assert server.connections == frozenset()
            for peer in peers[1:]:
                data = await peer.read_to_end()
                assert [received.close_code for received in frames(data)] == [1001]
                assert not torn(data)
        assert seen == [CLOSE]

    assert cancel_everywhere(scenario) >= 1


def test_server_and_its_shutdown_on_a_stream_that_fails() -> None:
    async def scenario(call: int) -> int:
        listener = MemoryListener()
        ours, theirs = trio.testing.memory_stream_pair()
        stream = FaultyStream(theirs, fail_at_call=call)
        async with trio.open_nursery() as nursery:
            async with open_websocket_server(echo, listeners=[listener], shutdown_timeout=5) as server:
                listener.connect_with(stream)
                peer = RawPeer(ours)

                async def talk() -> None:
                    with suppress(AssertionError, trio.BrokenResourceError):
                        await peer.open_as_client()
                        await peer.send(frame(TEXT, b"x"), frame(PING))
                        await answer(peer, [])
                    await peer.stream.aclose()

                nursery.start_soon(talk)
                await trio.sleep(1)
                with trio.fail_after(6):
                    await server.aclose()
            assert server.connections == frozenset()
            assert server.statistics().handshakes_in_progress == 0
            assert server.statistics().handlers_failed == 0
        return stream.calls

    assert fail_everywhere(scenario) > 4


def test_serve() -> None:
    async def scenario(region: Region) -> None:
        listener = MemoryListener()

        async def use_it() -> None:
            peer = RawPeer(listener.connect())
            with suppress(AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
                await peer.open_as_client()
                await peer.send(frame(TEXT, b"x"))
            data = await peer.read_to_end()
            assert not torn(data)
            assert [received.opcode for received in frames(data)] in ([], [TEXT], [CLOSE], [TEXT, CLOSE])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use_it)
            with region:
                with trio.move_on_after(10):
                    await serve_websocket(echo, listeners=[listener], shutdown_signals=())
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()
            nursery.cancel_scope.cancel()

    assert cancel_everywhere(scenario) >= 1


def test_serve_from_start_to_end_over_sockets() -> None:
    """With real sockets, so that file descriptors are counted; start, connect, talk, shut down: all in one task."""

    async def scenario(region: Region) -> None:
        with region:
            async with open_websocket_server(echo, "127.0.0.1", 0, close_timeout=1, shutdown_timeout=1) as server:
                async with trio.open_nursery() as nursery:
                    url = f"ws://127.0.0.1:{server.port}/"
                    extra = await connect_websocket(nursery, url, close_timeout=1)
                    async with open_websocket(url, close_timeout=1) as ws:
                        await ws.send("hello")
                        assert await ws.receive() == "hello"
                        await ws.ping()
                    await extra.aclose()

    assert cancel_everywhere(scenario, real_time=True) > 10
