"""Reading from a socket, past Trio's own calls."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.raw import BINARY, frame
from trio_ws._connection.transport import Transport, make_transport

LIMIT = 1000


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[Transport, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            yield make_transport(stream), theirs


class Turns(trio.abc.Instrument):
    """Counts the turns of the scheduler."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def turns_of_reads(transport: Transport, count: int, *, more: bool) -> list[int]:
    """In which turn of the scheduler each of so many reads has returned."""
    turns = Turns()
    trio.lowlevel.add_instrument(turns)
    result = []
    for _ in range(count):
        assert await transport.receive_some(LIMIT, more=more)
        result.append(turns.count)
    trio.lowlevel.remove_instrument(turns)
    return result


async def test_others_get_a_turn_after_four_full_reads_of_something_large() -> None:
    async with reading() as (transport, peer):
        peer.sendall(bytes(12 * LIMIT))
        turns = await turns_of_reads(transport, 12, more=True)
    assert [turns.count(turn) for turn in sorted(set(turns))] == [4, 4, 4]


async def test_others_get_a_turn_before_every_read_of_something_new() -> None:
    async with reading() as (transport, peer):
        peer.sendall(bytes(5 * LIMIT))
        turns = await turns_of_reads(transport, 5, more=False)
    assert len(set(turns)) == 5


async def test_full_read_with_nothing_behind_it_yet_is_followed_by_one_that_waits() -> None:
    async with reading() as (transport, peer), trio.open_nursery() as nursery:
        peer.sendall(bytes(LIMIT))
        assert await transport.receive_some(LIMIT) == bytes(LIMIT)

        async def send_the_rest() -> None:
            await trio.testing.wait_all_tasks_blocked()
            peer.sendall(b"the rest")

        nursery.start_soon(send_the_rest)
        assert await transport.receive_some(LIMIT, more=True) == b"the rest"


async def test_read_that_was_not_full_is_followed_by_one_that_waits() -> None:
    async with reading() as (transport, peer):
        peer.sendall(bytes(LIMIT + 1))
        assert len(set(await turns_of_reads(transport, 2, more=True))) == 1
        peer.sendall(bytes(LIMIT))
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.receive_some(LIMIT, more=True)
        assert scope.cancelled_caught
        assert await transport.receive_some(LIMIT) == bytes(LIMIT)


async def test_message_as_large_as_the_read_limit_comes_in_one_read_with_its_header() -> None:
    message = frame(BINARY, bytes(2**16))
    async with reading() as (transport, peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(message))
        await trio.to_thread.run_sync(peer.sendall, message)
        assert await transport.receive_some(2**16) == message


async def test_small_limit_is_kept_to_the_byte() -> None:
    async with reading() as (transport, peer):
        peer.sendall(bytes(LIMIT + 1))
        assert len(await transport.receive_some(LIMIT)) == LIMIT


async def test_read_that_does_not_wait_gives_what_has_come() -> None:
    async with reading() as (transport, peer):
        assert transport.receive_nowait(LIMIT) is None
        peer.sendall(b"hello")
        assert transport.receive_nowait(LIMIT) == b"hello"
        peer.shutdown(socket.SHUT_WR)
        assert transport.receive_nowait(LIMIT) == b""
        await transport.close()
        with pytest.raises(trio.ClosedResourceError):
            transport.receive_nowait(LIMIT)


async def test_read_that_does_not_wait_hears_of_a_reset() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        peer = socket.create_connection(listener.socket.getsockname())
        async with await listener.accept() as stream:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            with pytest.raises(trio.BrokenResourceError):
                make_transport(stream).receive_nowait(LIMIT)


async def test_stream_that_is_no_socket_cannot_tell_what_has_come() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"hello")
    assert make_transport(ours).receive_nowait(LIMIT) is None
