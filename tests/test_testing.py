"""What we offer to people who test their handlers."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_ws import ConnectionClosedError, InvalidURL
from trio_ws.testing import FaultyStream, open_connection_pair


async def test_lockstep_pair_makes_a_sender_wait_for_the_reader(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair(lockstep=True, max_queue=1, ping_interval=None) as (client, server):
        sent = 0
        with trio.move_on_after(1):
            while True:
                await client.send("x")
                sent += 1
        assert sent < 10
        assert client.close_reason is not None  # a send that is cancelled while it waits tears its frame
        assert await server.receive() == "x"


async def test_endless_pair_never_makes_a_sender_wait(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, _):
        with trio.fail_after(1):
            for _ in range(1000):
                await client.send("x")


async def test_pair_that_cannot_open_says_why(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(InvalidURL):
        async with open_connection_pair(url="http://localhost/"):
            raise AssertionError("it should not have opened")


def pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    return trio.testing.memory_stream_pair()


async def test_faulty_stream_without_faults_is_the_stream() -> None:
    ours, theirs = pair()
    stream = FaultyStream(ours)
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"there")
    await stream.send_eof()
    assert await theirs.receive_some() == b"there"
    assert await theirs.receive_some() == b""
    await theirs.send_all(b"back")
    assert await stream.receive_some() == b"back"
    assert stream.calls == 3
    await stream.aclose()


async def test_faulty_stream_fails_from_a_call_on() -> None:
    ours, _ = pair()
    stream = FaultyStream(ours, fail_at_call=2)
    await stream.send_all(b"1")
    with pytest.raises(trio.BrokenResourceError, match="fault in call 2, send_all"):
        await stream.send_all(b"2")
    with pytest.raises(trio.BrokenResourceError, match="fault in call 3, send_eof"):
        await stream.send_eof()


async def test_faulty_stream_cuts_what_is_sent() -> None:
    ours, theirs = pair()
    stream = FaultyStream(ours, cut_sent_at=5, send_step=2)
    await stream.send_all(b"123")
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"456")
    data = b""
    while chunk := await theirs.receive_some():
        data += chunk
    assert data == b"12345"


async def test_faulty_stream_cuts_what_is_received() -> None:
    ours, theirs = pair()
    stream = FaultyStream(ours, cut_received_at=5, read_limit=2)
    await theirs.send_all(b"123456")
    assert [await stream.receive_some(100) for _ in range(5)] == [b"12", b"34", b"5", b"", b""]


async def test_faulty_stream_on_one_that_cannot_half_close() -> None:
    class Whole(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...

        async def wait_send_all_might_not_block(self) -> None: ...

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def aclose(self) -> None: ...

    await FaultyStream(Whole()).send_eof()


async def test_stream_that_is_cut_in_the_middle_of_a_message_is_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_connection_pair() as (client, server):
        await client.send("whole")
        assert await server.receive() == "whole"
        client_error = trio.Event()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ConnectionClosedError):
                    await client.receive()
                client_error.set()

            nursery.start_soon(wait)
            await server.aclose(1011)
        assert client_error.is_set()


async def test_argument_that_makes_no_sense_is_raised_bare(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ValueError, match="max_queue"):
        async with open_connection_pair(max_queue=0):
            raise AssertionError("it should not have opened")
