"""The write side, on sockets: what can be written without waiting, and what becomes of a write that fails."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_ws._connection.transport import Transport, linger, make_transport
from trio_ws._connection.writer import Writer


def forget_it(frame: bytes, behind: Iterable[bytes]) -> bool:
    return True


def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = trio.socket.socketpair()
    return trio.SocketStream(ours), trio.SocketStream(theirs)


@asynccontextmanager
async def writer_on(
    stream: trio.abc.Stream, progress: list[float] | None = None
) -> AsyncIterator[tuple[Writer, list[BaseException]]]:
    broken: list[BaseException] = []
    progress = progress if progress is not None else []
    async with trio.open_nursery() as nursery:

        def spawn(task: Callable[[], Awaitable[object]]) -> None:
            nursery.start_soon(task)

        yield (
            Writer(
                make_transport(stream),
                write_limit=1000,
                spawn=spawn,
                on_broken=broken.append,
                on_progress=lambda: progress.append(trio.current_time()),
            ),
            broken,
        )


async def test_control_frame_is_written_at_once_where_there_is_room() -> None:
    ours, theirs = socket_pair()
    async with ours, theirs, writer_on(ours) as (writer, _):
        writer.post(b"now")
        assert not writer.busy
        assert await theirs.receive_some() == b"now"


async def test_control_frame_that_finds_no_room_goes_out_when_there_is() -> None:
    ours, theirs = socket_pair()
    async with ours, theirs, writer_on(ours) as (writer, broken):
        with trio.move_on_after(0.05) as scope:
            while True:
                await ours.socket.send(bytes(2**16))
        assert scope.cancelled_caught
        writer.post(b"the frame ")
        writer.post_pong(b"a pong")
        writer.post_pong(b"the last pong ")
        writer.post(b"the end")
        assert writer.busy
        data = b""
        while not data.endswith(b"the end"):
            data += await theirs.receive_some()
        assert data.endswith(b"\0the frame the last pong the end")
        assert not broken


async def test_write_is_a_sign_of_life_when_it_had_to_wait_for_the_peer_and_only_then() -> None:
    """However short the wait: a peer that reads a large frame steadily is never waited for long."""
    ours, theirs = socket_pair()
    progress: list[float] = []
    async with ours, theirs, writer_on(ours, progress) as (writer, _):
        await writer.send(lambda: b"fits", 4, forget=forget_it)
        assert progress == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: writer.send(lambda: bytes(5_000_000), 5_000_000, forget=forget_it))
            received = 0
            while received < 5_000_004:
                received += len(await theirs.receive_some())
        assert len(progress) > 1


@pytest.mark.parametrize("behind", [[], [b"one"], [b"one", b"two"]], ids=["none", "one", "two"])
@pytest.mark.parametrize("may_be", [True, False])
async def test_frame_is_left_out_only_if_those_made_since_allow_it(may_be: bool, behind: list[bytes]) -> None:
    asked: list[tuple[bytes, list[bytes]]] = []

    def forget(frame: bytes, behind: Iterable[bytes]) -> bool:
        asked.append((frame, list(behind)))
        return may_be

    ours, theirs = socket_pair()
    async with ours, theirs, writer_on(ours) as (writer, broken):
        with trio.move_on_after(0.05):
            while True:
                await ours.socket.send(bytes(2**16))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: writer.send(lambda: b"the first", 9, forget=forget))
            await trio.testing.wait_all_tasks_blocked()
            for frame in behind:
                await writer.send(lambda frame=frame: frame, 9, forget=forget)
            nursery.cancel_scope.cancel()
        assert asked == [(b"the first", behind)]
        assert len(broken) == (not may_be)
        await ours.aclose()  # those behind are still waiting


async def test_socket_that_breaks_while_a_write_waits_is_recorded() -> None:
    ours, theirs = socket_pair()
    async with ours, theirs, writer_on(ours) as (writer, broken):
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await writer.send(lambda: bytes(5_000_000), 5_000_000, forget=forget_it)

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            await theirs.aclose()
        assert len(broken) == 1


async def test_send_that_is_cancelled_before_anything_is_written_leaves_a_socket_usable() -> None:
    ours, theirs = socket_pair()
    async with ours, theirs, writer_on(ours) as (writer, broken):
        with trio.move_on_after(0.05):
            while True:
                await ours.socket.send(bytes(2**16))
        with trio.move_on_after(0.05) as scope:
            await writer.send(lambda: b"forgotten", 9, forget=forget_it)
        assert scope.cancelled_caught
        assert not broken
        with trio.move_on_after(0.05):
            await writer.send(lambda: b"a fragment", 10, forget=None)
        assert [type(error) for error in broken] == [trio.Cancelled]
        with pytest.raises(trio.BrokenResourceError, match="an earlier write failed"):
            await writer.send(lambda: b"x", 1, forget=forget_it)
        writer.post(b"nor this")
        assert not await writer.last_words(b"nor this")


@pytest.mark.parametrize("closed_by", ["us", "peer"])
async def test_failure_without_waiting_is_recorded(closed_by: str) -> None:
    ours, theirs = socket_pair()
    async with ours, theirs, writer_on(ours) as (writer, broken):
        await (ours if closed_by == "us" else theirs).aclose()
        writer.post(b"x")
        expected = trio.ClosedResourceError if closed_by == "us" else trio.BrokenResourceError
        assert [type(error) for error in broken] == [expected]


async def test_failure_while_writing_is_raised_and_recorded() -> None:
    ours, theirs = socket_pair()
    async with ours, writer_on(ours) as (writer, broken):
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await writer.send(lambda: b"x", 1, forget=forget_it)
        assert len(broken) == 1


async def test_default_timeout_of_the_socket_module_does_not_make_a_post_wait() -> None:
    ours, theirs = socket_pair()
    async with ours, theirs, writer_on(ours) as (writer, _):
        with trio.move_on_after(0.05):
            while True:
                await ours.socket.send(bytes(2**16))
        socket.setdefaulttimeout(30)
        try:
            began = trio.current_time()
            writer.post(b"x")
            assert trio.current_time() - began < 10
        finally:
            socket.setdefaulttimeout(None)
        writer.broken = True


class Whole(trio.abc.Stream):
    """A stream that cannot be closed by halves."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_linger_has_nothing_to_do_on_a_stream_that_cannot_be_closed_by_halves() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    with trio.fail_after(1):
        await linger(Whole(ours), 1000)
    await Transport(Whole(ours)).close()


async def test_interrupt_between_writing_and_knowing_how_much_is_never_taken_for_nothing_written() -> None:
    """Only a cancellation comes before the system call; KeyboardInterrupt may come right behind it."""

    class Interrupted(Transport):
        tears = False

        async def send_some(self, data: memoryview) -> tuple[int, bool | None]:
            await trio.lowlevel.checkpoint()
            raise KeyboardInterrupt

    broken: list[BaseException] = []
    writer = Writer(
        Interrupted(trio.testing.memory_stream_pair()[0]),
        write_limit=1000,
        spawn=lambda _: None,
        on_broken=broken.append,
        on_progress=lambda: None,
    )
    with pytest.raises(KeyboardInterrupt):
        await writer.send(lambda: b"x", 1, forget=forget_it)
    assert writer.broken
    assert [type(error) for error in broken] == [KeyboardInterrupt]


async def test_bytes_that_somebody_else_has_taken_are_waited_for_again() -> None:
    """Another process may have the same socket, and both are woken."""
    ours, theirs = socket_pair()
    twin = trio.SocketStream(trio.socket.fromfd(ours.socket.fileno(), ours.socket.family, ours.socket.type))
    received: list[bytes] = []

    async def receive(stream: trio.SocketStream) -> None:
        received.append(await make_transport(stream).receive_some(10))

    async with ours, theirs, twin, trio.open_nursery() as nursery:
        nursery.start_soon(receive, ours)
        nursery.start_soon(receive, twin)
        await trio.testing.wait_all_tasks_blocked()
        await theirs.send_all(b"one")
        await trio.testing.wait_all_tasks_blocked()
        assert received == [b"one"]
        await theirs.send_all(b"two")
    assert received == [b"one", b"two"]
