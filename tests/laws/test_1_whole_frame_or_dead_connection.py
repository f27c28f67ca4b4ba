"""Law 1: a cancelled or failed send put nothing on the wire, or the connection is aborted. Never open and torn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import CLOSE, CONTINUATION, TEXT, RawPeer, frames, raw_client, torn
from tests.sweep import Region, cancel_everywhere, fail_everywhere
from tests.zlib_peer import Half, request
from trio_ws import ConnectionClosedError, WebSocketConnection, wrap_server_stream
from trio_ws.testing import FaultyStream

#: More than one write_limit, so that it is written in steps and can be torn.
LARGE = "x" * 1000
OPTIONS: dict[str, Any] = {"write_limit": 300}


@asynccontextmanager
async def watched(**faults: Any) -> AsyncIterator[tuple[WebSocketConnection, RawPeer, bytearray, FaultyStream]]:
    """A connection, its raw peer, and all bytes that we put on the wire behind the handshake, 100 at a time."""
    streams: list[FaultyStream] = []

    def wrap(stream: trio.abc.Stream) -> FaultyStream:
        streams.append(FaultyStream(stream, send_step=100, **faults))
        return streams[0]

    wire = bytearray()
    async with raw_client(wrap=wrap, **OPTIONS) as (ws, peer):

        async def collect() -> None:
            wire.extend(await peer.read_to_end())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            yield ws, peer, wire, streams[0]
            await ws.aclose()
    # Whatever happened: whole frames, then at most the beginning of one, and nothing behind that.
    for frame in frames(bytes(wire)):
        assert frame.opcode in (TEXT, CLOSE)
        if frame.opcode == TEXT:
            assert frame.payload.decode() in ("before", LARGE, "after")
    assert torn(bytes(wire)) in LARGE_FRAME_PREFIXES


LARGE_FRAME = b"\x81\x7e" + len(LARGE).to_bytes(2) + LARGE.encode()
LARGE_FRAME_PREFIXES = [LARGE_FRAME[:end] for end in range(len(LARGE_FRAME))]


def test_send_cancelled_anywhere_leaves_a_usable_or_a_dead_connection() -> None:
    async def scenario(region: Region) -> None:
        survived = False
        async with watched() as (ws, _, wire, _):
            await ws.send("before")
            with region:
                await ws.send(LARGE)
            with suppress(ConnectionClosedError):
                await ws.send("after")
                survived = True
        texts = [frame.payload.decode() for frame in frames(bytes(wire)) if frame.opcode == TEXT]
        if survived:
            assert torn(bytes(wire)) == b""
            assert texts == (["before", "after"] if region.cancelled else ["before", LARGE, "after"])
        else:
            assert region.cancelled
            assert "after" not in texts
            assert ws.close_reason is not None

    assert cancel_everywhere(scenario) > 5


@asynccontextmanager
async def compressed_on_a_socket() -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """Our side of a compressed connection on a Unix socket, which takes a small frame whole or not at all."""
    ours, theirs = trio.socket.socketpair()
    peer = RawPeer(trio.SocketStream(theirs))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open_as_client, request(["permessage-deflate"]))
        async with wrap_server_stream(trio.SocketStream(ours), close_timeout=1, ping_interval=None) as ws:
            await peer.opened.wait()
            yield ws, peer
    await peer.stream.aclose()


def numbered(number: int) -> str:
    return f"message {number}: " + 20 * f"{number * 7919}, "


def inflated(data: bytes) -> list[str]:
    """The compressed texts among these frames."""
    peer = Half()
    return [peer.inflate(frame.payload).decode() for frame in frames(data) if frame.opcode == TEXT]


async def test_compressed_message_that_is_cancelled_unwritten_spoils_none_that_follows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """RFC 7692 §7.1.1: what the peer has never seen, nothing may refer to."""
    async with compressed_on_a_socket() as (ws, peer):
        sent: list[str] = []
        cancelled = 0
        async with trio.open_nursery() as nursery:
            while cancelled < 3:
                with trio.move_on_after(1) as scope:
                    await ws.send(numbered(len(sent) + cancelled))
                    sent.append(numbered(len(sent) + cancelled))
                cancelled += scope.cancelled_caught
            assert ws.close_reason is None
            received: list[bytes] = []

            async def read() -> None:
                received.append(await peer.read_to_end())

            nursery.start_soon(read)
            for number in range(10):
                await ws.send(numbered(number))
                sent.append(numbered(number))
            await ws.aclose()
        assert inflated(received[0]) == sent


async def test_compressed_message_that_others_may_refer_to_cannot_be_left_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with compressed_on_a_socket() as (ws, peer):
        sent = 0
        with trio.move_on_after(1) as scope:
            while True:
                await ws.send(numbered(sent))
                sent += 1
        assert scope.cancelled_caught
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, numbered(sent))
                await trio.testing.wait_all_tasks_blocked()
                await ws.send(numbered(sent))  # left for the other task to send along
        with trio.fail_after(60):
            assert (await ws.wait_closed()).code == 1006
        data = await peer.read_to_end()
        assert torn(data) == b""
        assert inflated(data) == [numbered(number) for number in range(sent)]


async def test_send_that_is_cancelled_while_it_waits_in_line_leaves_the_connection_usable(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with watched() as (ws, _, wire, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, LARGE)
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(0) as scope:
                await ws.send(LARGE)
        assert scope.cancelled_caught
        await ws.send("after")
    texts = [frame.payload.decode() for frame in frames(bytes(wire)) if frame.opcode == TEXT]
    assert texts == [LARGE, "after"]


async def test_frames_are_made_in_the_order_in_which_they_are_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A task that has been given its turn, but has not run yet, comes before one that has come later."""
    received: list[tuple[int, bool]] = []

    async def slowly() -> AsyncIterator[str]:
        yield "a"
        await trio.sleep(1)  # the message is begun: another one that is made now would be taken for its next fragment
        yield "b"

    wrap = partial(FaultyStream, send_step=100)
    async with raw_client(wrap=wrap, write_limit=300, close_timeout=1) as (ws, peer):
        async with trio.open_nursery() as nursery:

            async def first_and_third() -> None:
                await ws.send(LARGE)
                await ws.send_fragments(slowly())

            nursery.start_soon(first_and_third)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(ws.send, LARGE)
        await ws.aclose()
        received = [(frame.opcode, frame.fin) for frame in frames(await peer.read_to_end())]
    whole, closing = (TEXT, True), (CLOSE, True)
    assert received == [whole, whole, (TEXT, False), (CONTINUATION, False), (CONTINUATION, True), closing]


def test_stream_that_fails_anywhere_ends_the_connection_and_tears_at_most_the_last_frame() -> None:
    async def scenario(call: int) -> int:
        async with watched(fail_at_call=call) as (ws, _, _, stream):
            with suppress(ConnectionClosedError):
                await ws.send("before")
                await ws.send(LARGE)
                await ws.send("after")
        return stream.calls

    # The first two calls are the handshake's.
    assert fail_everywhere(scenario, first=3) > 6


async def test_everyone_hears_of_a_torn_frame(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(lockstep=True, write_limit=10) as (ws, _):
        heard: list[type[BaseException]] = []

        async def expect_the_end(wait: Any) -> None:
            with pytest.raises(ConnectionClosedError) as caught:
                await wait()
            heard.append(type(caught.value.__cause__))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_the_end, ws.receive)
            nursery.start_soon(expect_the_end, ws.ping)
            with trio.move_on_after(1):
                await ws.send(LARGE)  # the peer does not read
            nursery.start_soon(expect_the_end, lambda: ws.send("after"))
            reason = await ws.wait_closed()
        assert reason.code == 1006
        assert heard == [trio.BrokenResourceError] * 3
