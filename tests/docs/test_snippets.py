"""The pieces of code that the documentation shows and that are in no example: it includes them from here.

What stands between ``# shown as NAME`` and ``# shown to here`` is shown; the rest of a test sees to it that it is true.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

import trio_ws
from trio_ws import (
    CloseCode,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionRejected,
    Deflate,
    HandshakeError,
    HandshakeTimeout,
    Request,
    Response,
    WebSocketConnection,
    open_websocket,
    open_websocket_server,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_ws.testing import FaultyStream, open_connection_pair

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = [*DOCS.glob("*.rst"), *DOCS.glob("*.md")]


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


def test_pages_show_no_python_that_nobody_runs() -> None:
    assert PAGES
    typed_in = re.compile(r"(\.\. code-block:: python|^::$|```python)", re.MULTILINE)
    assert [page.name for page in PAGES if typed_in.search(page.read_text())] == []


def test_reference_names_everything_that_is_public() -> None:
    reference = (DOCS / "reference.rst").read_text()
    public = [f"trio_ws.{name}" for name in trio_ws.__all__]
    public += [f"trio_ws.testing.{name}" for name in trio_ws.testing.__all__]
    assert [name for name in public if not re.search(rf":: {re.escape(name)}(\(|$)", reference, re.MULTILINE)] == []


async def test_timeout_around_receive_loses_nothing(autojump_clock: MockClock) -> None:
    async with open_connection_pair() as (ws, peer):
        # shown as timeout
        with trio.move_on_after(5) as patience:
            message = await ws.receive()
        if patience.cancelled_caught:
            await ws.send("are you still there?")
        # shown to here
        assert await peer.receive() == "are you still there?"
        await peer.send("yes")
        assert await ws.receive() == "yes"
        assert "message" not in locals()


async def lines() -> AsyncIterator[str]:
    for number in range(3):
        yield f"line {number}\n"


async def test_fragments_go_out_as_they_are_made_and_come_in_as_they_arrive(nursery: trio.Nursery) -> None:
    async def send(ws: WebSocketConnection) -> None:
        # shown as send-fragments-call
        await ws.send_fragments(lines())
        # shown to here

    async def receive(ws: WebSocketConnection) -> str:
        size, whole = 0, ""
        # shown as receive-fragments
        async with ws.receive_fragments() as pieces:
            async for piece in pieces:
                size += len(piece)
                # shown to here
                whole += str(piece)
        assert size == len(whole)
        return whole

    async with open_connection_pair() as (client, server):
        nursery.start_soon(send, client)
        assert await receive(server) == "line 0\nline 1\nline 2\n"


async def test_compression_is_agreed_on_and_can_be_left_out(autojump_clock: MockClock) -> None:
    async with open_connection_pair() as (ws, peer):
        # shown as compression-agreed
        agreed = ws.response.headers.get("Sec-WebSocket-Extensions")
        # shown to here
        assert agreed is not None
        assert agreed.startswith("permessage-deflate")
        picture = bytes(1000)
        # shown as compression-opt-out
        await ws.send(picture, compress=False)
        # shown to here
        assert await peer.receive() == picture
        assert ws.statistics().bytes_sent > 1000


async def test_compression_takes_parameters() -> None:
    # shown as compression-parameters
    frugal = Deflate(server_no_context_takeover=True, client_no_context_takeover=True, min_size=512)
    async with open_websocket_server(echo, "127.0.0.1", 0, compression=frugal) as server:
        # shown to here
        async with open_websocket(f"ws://127.0.0.1:{server.port}/") as ws:
            assert "server_no_context_takeover" in ws.response.headers["Sec-WebSocket-Extensions"]
            for text in ("short", "long " * 500):
                await ws.send(text)
                assert await ws.receive() == text


async def test_ping_tells_the_round_trip(autojump_clock: MockClock) -> None:
    async with open_connection_pair() as (ws, _):
        # shown as ping
        with trio.fail_after(5):
            seconds = await ws.ping()
        # shown to here
        assert seconds == ws.latency


async def listen(ws: WebSocketConnection, seen: list[str]) -> None:
    try:
        async for message in ws:
            seen.append(str(message))
    except ConnectionClosedError as error:
        seen.append(f"failed: {error.reason.code}")
    else:
        seen.append("goodbye")


async def test_failure_is_told_from_a_goodbye() -> None:
    seen: list[str] = []

    async with open_connection_pair() as (client, server):
        await client.send("hello")
        await client.aclose()
        await listen(server, seen)
    async with open_connection_pair() as (client, server):
        await client.aclose(4000, "application says no")
        await listen(server, seen)
    assert seen == ["hello", "goodbye", "failed: 4000"]


async def test_handshake_errors_are_one_family() -> None:
    seen: list[object] = []

    def refuse(request: Request) -> Response:
        return Response(401, "who are you?")

    async def connect(url: str) -> None:
        # shown as handshake-errors
        try:
            async with open_websocket(url) as ws:
                await ws.send("hello")
        except ConnectionRejected as error:
            seen.append(error.response.status)
        except HandshakeTimeout:
            seen.append("too slow")
        except HandshakeError as error:
            seen.append(error.__cause__)
        # shown to here

    async with open_websocket_server(echo, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        await connect(url)
    await connect(url)
    assert seen[0] == 401
    assert isinstance(seen[1], OSError)


async def authorize(request: Request) -> Response | None:
    if request.headers.get("Authorization") != "Bearer secret":
        return Response(401, "Say who you are.\n", {"WWW-Authenticate": "Bearer"})
    return None  # let the handshake go on


async def test_hook_answers_for_the_handshake() -> None:
    async with open_websocket_server(echo, "127.0.0.1", 0, process_request=authorize) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        with pytest.raises(ConnectionRejected):
            async with open_websocket(url):
                pass
        async with open_websocket(url, extra_headers={"Authorization": "Bearer secret"}) as ws:
            await ws.send("in")
            assert await ws.receive() == "in"


async def test_origins_are_a_list_of_strings_and_patterns() -> None:
    # shown as origins
    origins: list[str | re.Pattern[str] | None] = [
        "https://example.org",
        re.compile(r"https://[a-z0-9-]+\.example\.org"),
        None,  # clients that send no Origin: everything but browsers
    ]
    # shown to here
    async with open_websocket_server(echo, "127.0.0.1", 0, origins=origins) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        for origin in ("https://example.org", "https://shop.example.org", None):
            async with open_websocket(url, origin=origin):
                pass
        with pytest.raises(ConnectionRejected):
            async with open_websocket(url, origin=f"http://127.0.0.1:{server.port}"):
                pass


async def test_newest_messages_are_kept_and_reading_goes_on(nursery: trio.Nursery) -> None:
    # shown as newest
    async def keep_newest(ws: WebSocketConnection, newest: list[str | bytes]) -> None:
        async for message in ws:
            newest[:] = [message]  # who is late gets the last one, and the peer never waits
        # shown to here
        ended.set()

    ended = trio.Event()
    newest: list[str | bytes] = []
    async with open_connection_pair(max_queue=1) as (client, server):
        nursery.start_soon(keep_newest, server, newest)
        for number in range(100):
            await client.send(str(number))
        await client.aclose()
        await ended.wait()
    assert newest == ["99"]


async def test_two_streams_make_a_connection(nursery: trio.Nursery) -> None:
    ours, theirs = memory_stream_pair()

    async def serve() -> None:
        async with wrap_server_stream(theirs) as ws:
            await echo(ws)

    nursery.start_soon(serve)
    # shown as wrap-client
    async with wrap_client_stream(ours, "ws://example.org/chat?room=1") as ws:
        await ws.send("hello")
        # shown to here
        assert await ws.receive() == "hello"
        assert ws.request.headers["Host"] == "example.org"
        assert ws.request.target == "/chat?room=1"


async def test_shutdown_may_give_a_reason() -> None:
    async with open_websocket_server(echo, "127.0.0.1", 0) as server:
        async with open_websocket(f"ws://127.0.0.1:{server.port}/") as ws:
            # shown as shutdown
            server.shutdown(CloseCode.SERVICE_RESTART, "back in a minute")
            await server.wait_closed()
            # shown to here
            with pytest.raises(ConnectionClosed) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1012
            assert caught.value.reason.reason == "back in a minute"


# shown as faulty
async def test_client_hears_of_a_cut_connection() -> None:
    ours, theirs = memory_stream_pair()

    async def serve_and_send_too_much() -> None:
        with pytest.raises(ConnectionClosedError):
            async with wrap_server_stream(FaultyStream(theirs, cut_sent_at=1000)) as ws:
                await ws.send(2000 * "x", compress=False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_and_send_too_much)
        async with wrap_client_stream(ours, "ws://localhost/") as ws:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
            assert caught.value.reason.code == CloseCode.ABNORMAL_CLOSURE
            # shown to here


# shown as raise
async def test_failing_handler_fails_the_test() -> None:
    async def handler(ws: WebSocketConnection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with open_websocket_server(handler, "127.0.0.1", 0, handler_errors="raise") as server:
            async with open_websocket(f"ws://127.0.0.1:{server.port}/") as ws:
                with suppress(ConnectionClosed):
                    await ws.receive()
                # shown to here


async def test_receive_lets_others_run_after_max_queue_messages(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What backpressure-and-memory.rst says of :meth:`receive`."""
    others_turn = trio.Event()

    async def other() -> None:
        others_turn.set()

    async with open_connection_pair(max_queue=4) as (client, server):
        for number in range(20):
            await client.send(str(number))
        await trio.sleep(1)  # the reader has filled the queue
        nursery.start_soon(other)
        for _ in range(3):
            await server.receive()
        assert not others_turn.is_set()
        for _ in range(5):  # the scheduler may give us the first of two turns again
            await server.receive()
        assert others_turn.is_set()
