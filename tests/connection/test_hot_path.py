"""What sending and receiving promise however little they cost: on sockets, and on streams that are none."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any

import pytest
import trio
import trio.testing

from tests.connection.kernel import Kernel
from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, RawPeer, frame, frames, raw_client, torn
from tests.sweep import Region, cancel_everywhere
from tests.zlib_peer import ALWAYS, FIELD, Half, request
from trio_ws import ConnectionClosed, ConnectionClosedError, WebSocketConnection
from trio_ws.testing import FaultyStream, open_connection_pair

#: From this size on, header and payload of a frame are written without being joined.
LARGE = 2**14
#: Messages that one task sends or receives without waiting before others get a turn.
TURN = 64

STREAMS = pytest.mark.parametrize("stream", ["socket", "memory"])


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@asynccontextmanager
async def opened(
    kernel: Kernel, stream: str, **options: Any
) -> AsyncIterator[tuple[WebSocketConnection, RawPeer, Callable[[], int]]]:
    """A connection on a stream of either kind, and how many writes there have been since it is open."""
    if stream == "socket":
        async with kernel.open(**options) as (ws, peer):
            yield ws, peer, lambda: len(kernel.writes)
        return
    calls: list[str] = []
    async with raw_client(wrap=lambda ours: FaultyStream(ours, on_call=calls.append), close_timeout=1, **options) as (
        ws,
        peer,
    ):
        calls.clear()
        yield ws, peer, lambda: calls.count("send_all")
        await peer.stream.aclose()


def numbered(count: int) -> list[str]:
    return [f"message {number}" for number in range(count)]


def texts(messages: Iterable[str]) -> bytes:
    return b"".join(frame(TEXT, message.encode()) for message in messages)


def said(data: bytes) -> list[str]:
    """The texts among these frames, which have to be whole."""
    assert not torn(data)
    return [found.payload.decode() for found in frames(data) if found.opcode == TEXT]


async def a_turn() -> None:
    """Everything that is to run next has run. Two, because of the tasks of one turn any may be the first."""
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()


async def hold(ws: WebSocketConnection, peer: RawPeer, messages: Iterable[str]) -> None:
    """Send these while more of what was received waits to be handled: then they are held."""
    await peer.send(texts(["first", "second"]))
    await trio.testing.wait_all_tasks_blocked()
    assert await ws.receive() == "first"
    for message in messages:
        await ws.send(message)


async def be_cancelled_while_it_waits(function: Callable[..., Awaitable[object]], *args: object) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function, *args)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        nursery.cancel_scope.cancel()


# Frames that are held together


@STREAMS
@pytest.mark.parametrize("count", [2, 16, 17, TURN])
async def test_replies_to_a_batch_go_out_in_one_write(kernel: Kernel, stream: str, count: int) -> None:
    async with opened(kernel, stream) as (ws, peer, writes):
        await peer.send(texts(numbered(count)))
        await trio.testing.wait_all_tasks_blocked()
        for message in numbered(count):
            assert await ws.receive() == message
            await ws.send(message)
        await a_turn()
        assert writes() == 1
        assert said(await peer.stream.receive_some()) == numbered(count)


async def test_lone_message_is_written_at_once(kernel: Kernel) -> None:
    async with kernel.open() as (ws, peer):
        await ws.send("before anything was received")
        await peer.send(texts(["a question"]))
        assert await ws.receive() == "a question"
        await ws.send("its answer")
        assert len(kernel.writes) == 2
        assert said(kernel.written) == ["before anything was received", "its answer"]


@STREAMS
async def test_held_frames_are_out_at_the_next_turn(kernel: Kernel, stream: str) -> None:
    async with opened(kernel, stream) as (ws, peer, writes):
        await hold(ws, peer, numbered(3))
        assert writes() == 0
        await a_turn()
        await a_turn()  # a stream that is no socket is written to by a task
        assert writes() == 1
        assert ws.statistics().held_bytes == 0


async def leave(ws: WebSocketConnection, scope: trio.CancelScope) -> None:
    pass


async def close(ws: WebSocketConnection, scope: trio.CancelScope) -> None:
    await ws.aclose(4000)


async def fail(ws: WebSocketConnection, scope: trio.CancelScope) -> None:
    raise KeyError


async def be_cancelled(ws: WebSocketConnection, scope: trio.CancelScope) -> None:
    scope.cancel()
    await trio.lowlevel.checkpoint()


@STREAMS
@pytest.mark.parametrize(("action", "code"), [(leave, 1000), (close, 4000), (fail, 1011), (be_cancelled, 1001)])
async def test_held_frames_are_not_lost_whatever_is_done_next(
    kernel: Kernel,
    stream: str,
    action: Callable[[WebSocketConnection, trio.CancelScope], Awaitable[None]],
    code: int,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened(kernel, stream) as (ws, peer, _):
        with suppress(KeyError), trio.CancelScope() as scope:
            async with ws:
                await hold(ws, peer, numbered(3))
                await action(ws, scope)
        data = await peer.read_to_end()
        assert said(data) == numbered(3)
        assert [found.close_code for found in frames(data) if found.opcode == CLOSE] == [code]


@STREAMS
@pytest.mark.parametrize("limit", [1, 100, 1000, 2**16])
async def test_no_more_than_write_limit_is_held(kernel: Kernel, stream: str, limit: int) -> None:
    async with opened(kernel, stream, write_limit=limit) as (ws, peer, _):
        await hold(ws, peer, [])
        sizes = [1, 98, 99, 500, 998, 999, 5000, 30_000, 30_000, 30_000]
        async with trio.open_nursery() as nursery:
            received: list[bytes] = []

            async def read() -> None:
                while len(b"".join(received)) < sum(sizes) + 4 * len(sizes) - 6:
                    received.append(await peer.stream.receive_some())

            nursery.start_soon(read)
            for size in sizes:
                await ws.send("x" * size)
                assert ws.statistics().held_bytes <= limit
        assert [len(text) for text in said(b"".join(received))] == sizes


async def test_order_is_that_of_sending_whatever_is_sent(kernel: Kernel) -> None:
    async with kernel.open() as (ws, peer):
        await hold(ws, peer, ["held"])
        await peer.send(frame(PING, b"now"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping)
            await trio.testing.wait_all_tasks_blocked()
            assert await ws.receive() == "second"
            await peer.send(texts(["third", "fourth"]))
            await trio.testing.wait_all_tasks_blocked()
            assert await ws.receive() == "third"
            await ws.send("held, too")
            await ws.send_fragments(["a ", "fragment"])
            await ws.send(b"x" * LARGE)
            await ws.send("the last")
            nursery.cancel_scope.cancel()
        found = list(frames(kernel.written))
        assert not torn(kernel.written)
        assert sorted(each.opcode for each in found[1:3]) == [PING, PONG]
        assert [(each.opcode, each.payload[:9]) for each in [found[0], *found[3:]]] == [
            (TEXT, b"held"),
            (TEXT, b"held, too"),
            (TEXT, b"a "),
            (0, b"fragment"),
            (0, b""),
            (BINARY, b"x" * 9),
            (TEXT, b"the last"),
        ]


@STREAMS
async def test_each_of_several_senders_keeps_its_order(kernel: Kernel, stream: str) -> None:
    async with opened(kernel, stream, write_limit=300) as (ws, peer, _):
        await hold(ws, peer, [])

        async def send(name: str) -> None:
            for number in range(100):
                await ws.send(f"{name}{number:02}" * (1 + number % 40))

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(send, name)
            received: list[str] = []
            while len(received) < 300:
                found = await peer.receive()
                assert found is not None
                received.append(found.payload.decode()[:3])
        for name in "abc":
            assert [text for text in received if text[0] == name] == [f"{name}{number:02}" for number in range(100)]


@pytest.mark.parametrize("room", range(22))
async def test_send_that_is_cancelled_behind_held_frames_loses_none_of_them(kernel: Kernel, room: int) -> None:
    async with kernel.open() as (ws, peer):
        await hold(ws, peer, numbered(2))  # 22 bytes
        kernel.leave_room_for(room)
        await be_cancelled_while_it_waits(ws.send, "y" * 70_000)
        kernel.make_room()
        await ws.send("the next")
        await a_turn()
        assert said(kernel.written) == [*numbered(2), "the next"]
        assert ws.close_reason is None


@pytest.mark.parametrize("room", [0, 1, 5, None])
async def test_stream_that_breaks_with_held_frames_ends_the_connection(kernel: Kernel, room: int | None) -> None:
    async with kernel.open() as (ws, peer):
        await hold(ws, peer, numbered(2))
        if room is not None:
            kernel.leave_room_for(room)
        await peer.stream.aclose()
        assert await ws.receive() == "second"
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
        kernel.make_room()
        with pytest.raises(ConnectionClosedError):
            await ws.send("nor this")
        assert ws.statistics().held_bytes == 0


async def test_compressed_frames_that_are_held_refer_to_each_other_in_their_order(kernel: Kernel) -> None:
    peers_half = Half()
    async with kernel.open(request=request(["permessage-deflate"]), compression=ALWAYS) as (ws, peer):
        assert FIELD in ws.response.headers
        await hold(ws, peer, numbered(3))
        kernel.leave_room_for(10)
        await be_cancelled_while_it_waits(ws.send, "z" * 70_000)
        kernel.make_room()
        await ws.send("message 3")
        await trio.testing.wait_all_tasks_blocked()
        assert not torn(kernel.written)
        assert [peers_half.inflate(each.payload).decode() for each in frames(kernel.written)] == numbered(4)


# Large frames, whose header and payload are written without being joined


@pytest.mark.parametrize("room", [*range(8), 1000, LARGE + 3])
@pytest.mark.parametrize("size", [LARGE, LARGE + 1])
async def test_large_frame_that_is_taken_in_parts_arrives_whole(kernel: Kernel, size: int, room: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    async with kernel.open() as (ws, _):
        kernel.leave_room_for(room)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, payload)
            await trio.testing.wait_all_tasks_blocked()
            await ws.send("behind it")
            assert len(kernel.written) == room
            kernel.make_room()
        await a_turn()
        assert [found.payload for found in frames(kernel.written)] == [payload, b"behind it"]
        assert not torn(kernel.written)


@pytest.mark.parametrize("room", [*range(1, 16), 1000, LARGE + 3])
@pytest.mark.parametrize("size", [LARGE, 2**16])
async def test_large_frame_that_is_cancelled_in_part_is_followed_by_nothing(
    kernel: Kernel, size: int, room: int
) -> None:
    """Its header alone is a part, too."""
    async with kernel.open() as (ws, _):
        kernel.leave_room_for(room)
        await be_cancelled_while_it_waits(ws.send, bytes(size))
        kernel.make_room()
        with pytest.raises(ConnectionClosedError):
            await ws.send("what would be taken for the rest of it")
        assert (await ws.wait_closed()).code == 1006
        assert len(kernel.written) == room


@pytest.mark.parametrize("size", [100, LARGE])
async def test_frame_that_is_cancelled_before_any_of_it_is_taken_leaves_the_connection_usable(
    kernel: Kernel, size: int
) -> None:
    async with kernel.open() as (ws, _):
        kernel.leave_room_for(0)
        await be_cancelled_while_it_waits(ws.send, bytes(size))
        kernel.make_room()
        await ws.send("the next")
        assert said(kernel.written) == ["the next"]


async def test_small_socket_buffer_delays_large_messages_and_changes_none(kernel: Kernel) -> None:
    messages = [bytes([number]) * size for number, size in enumerate([2**20, 0, LARGE - 1, LARGE, 5, 2**17])]
    async with kernel.open() as (ws, peer):
        kernel.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for message in messages:
                    await ws.send(message)

            nursery.start_soon(send)
            received = b""
            while len(received) < sum(len(frame(BINARY, message, mask=False)) for message in messages):
                received += await peer.stream.receive_some(50_000)
        assert [found.payload for found in frames(received)] == messages
        assert len(kernel.writes) > len(messages)


# Turns for other tasks


@pytest.mark.parametrize("what", ["send", "echo"])
async def test_what_never_waits_gives_other_tasks_a_turn(kernel: Kernel, what: str) -> None:
    in_a_row = most = 0
    async with kernel.open(max_queue=1000) as (ws, peer):
        await peer.send(texts(numbered(150)))
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def take_turns() -> None:
                nonlocal in_a_row
                while True:
                    in_a_row = 0
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(take_turns)
            await a_turn()
            for _ in range(150):
                if what == "echo":
                    await ws.receive()
                await ws.send("x")
                in_a_row += 1
                most = max(most, in_a_row)
            nursery.cancel_scope.cancel()
    assert most <= 2 * TURN  # of two tasks, one may be the last in a turn of the scheduler and the first in the next


# Receiving


def receive_with(*regions: AbstractContextManager[object]) -> Callable[[], Awaitable[None]]:
    """A scenario: so many tasks receive what one sends, each within its region."""

    async def scenario() -> None:
        received: list[str | bytes] = []

        async def receive(ws: WebSocketConnection, region: AbstractContextManager[object]) -> None:
            with region, suppress(ConnectionClosed):
                while True:
                    received.append(await ws.receive())

        async with open_connection_pair(max_queue=2) as (client, server), trio.open_nursery() as nursery:
            for region in regions:
                nursery.start_soon(receive, server, region)
            for message in numbered(12):
                await client.send(message)
            await client.aclose()
        assert sorted(received) == sorted(map(str, numbered(12)))

    return scenario


def test_each_message_goes_to_one_of_several_receivers_also_when_one_is_cancelled() -> None:
    steps = cancel_everywhere(lambda region: receive_with(region, nullcontext(), nullcontext())())
    assert steps > 3


def test_echo_that_is_cancelled_anywhere_tears_nothing_and_mixes_up_nothing() -> None:
    async def scenario(region: Region) -> None:
        async with raw_client(close_timeout=1) as (ws, peer):
            await peer.send(texts(numbered(40)))
            with region:
                for _ in range(40):
                    await ws.send(await ws.receive())
            await trio.testing.wait_all_tasks_blocked()
            await ws.aclose()
        data = await peer.read_to_end()
        assert said(data) == numbered(40)[: len(said(data))]

    assert cancel_everywhere(scenario) > 1


# Ends


async def test_goodbye_that_could_not_be_written_is_not_said_again(autojump_clock: trio.testing.MockClock) -> None:
    """Not by a connection that is cancelled while it waits for what the peer may still say."""
    closing = False

    def refuse_to_write(call: str) -> None:
        if closing and call == "send_all":
            raise trio.BrokenResourceError

    async with raw_client(wrap=lambda ours: FaultyStream(ours, on_call=refuse_to_write)) as (ws, _):

        async def leave() -> None:
            async with ws:
                await ws.aclose()

        closing = True
        await be_cancelled_while_it_waits(leave)
        assert (await ws.wait_closed()).code == 1006
    assert ws.close_reason is not None
    assert ws.close_reason.sent_code is None


# Interrupts, and sockets that are closed under us


async def test_interrupt_never_comes_between_a_write_and_what_is_known_of_it(kernel: Kernel) -> None:
    async with kernel.open() as (ws, peer):
        await ws.send("alone")
        await ws.send(bytes(LARGE))
        await ws.send_fragments(["a", "b"])
        await hold(ws, peer, numbered(2))
        await a_turn()
        await peer.send(frame(PING))
        await trio.testing.wait_all_tasks_blocked()
        await be_cancelled_while_it_waits(ws.ping)
        kernel.leave_room_for(3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "in two parts")
            await trio.testing.wait_all_tasks_blocked()
            kernel.make_room()
        await be_cancelled_while_it_waits(ws.aclose)
        assert len(list(frames(kernel.written))) == 11
        assert not kernel.interruptible


async def send_large(ws: WebSocketConnection) -> None:
    await ws.send(bytes(LARGE))


async def send_fragments(ws: WebSocketConnection) -> None:
    await ws.send_fragments(["a", "b"])


async def ping(ws: WebSocketConnection) -> None:
    await ws.ping()


async def send(ws: WebSocketConnection) -> None:
    await ws.send("x")


async def receive(ws: WebSocketConnection) -> None:
    while True:
        await ws.receive()


@pytest.mark.parametrize("waiting", [1, 5], ids=["reader waits for bytes", "reader waits for room"])
@pytest.mark.parametrize("action", [send, send_large, send_fragments, ping, receive])
async def test_socket_that_was_closed_under_us_ends_the_connection_and_nobody_else_is_written_to(
    kernel: Kernel, action: Callable[[WebSocketConnection], Awaitable[None]], waiting: int
) -> None:
    """Not even those whose file has the number that the socket had."""
    async with kernel.open(max_queue=2) as (ws, peer):
        await peer.send(texts(numbered(waiting)))
        await trio.testing.wait_all_tasks_blocked()
        number = kernel.stream.socket.fileno()
        kernel.stream.socket.close()
        others = reuse(number)
        with trio.fail_after(60), pytest.raises(ConnectionClosedError):
            await action(ws)
        with trio.fail_after(60):
            while True:  # nothing else tells a reader that waits for room
                try:
                    await ws.receive()
                except ConnectionClosedError:
                    break
        await ws.aclose()
        for other in others:
            with pytest.raises(BlockingIOError):
                other.recv(1)
        for other in others:
            other.close()


def reuse(number: int) -> list[socket.socket]:
    """A pair of sockets, of which one has this number."""
    pairs: list[tuple[socket.socket, socket.socket]] = []
    while all(end.fileno() != number for pair in pairs for end in pair):
        pairs.append(socket.socketpair())
        assert len(pairs) < 100
    for pair in pairs[:-1]:
        for end in pair:
            end.close()
    for end in pairs[-1]:
        end.setblocking(False)
    return list(pairs[-1])
