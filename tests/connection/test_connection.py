"""What a connection offers: messages, fragments, pings, misuse, and what is known about it."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, frames, raw_client, raw_server
from trio_ws import ConnectionClosedError, ConnectionClosedOK, LocalProtocolError, RemoteProtocolError
from trio_ws._connection.connection import session_of
from trio_ws.testing import open_connection_pair


@pytest.mark.parametrize(
    ("message", "received"),
    [
        ("text", "text"),
        ("", ""),
        ("¿€😀?", "¿€😀?"),
        (b"bytes", b"bytes"),
        (b"", b""),
        (bytearray(b"array"), b"array"),
        (memoryview(b"view"), b"view"),
        (memoryview(b"every other")[::2], b"eeyohr"),
        (bytes(range(256)) * 1000, bytes(range(256)) * 1000),
    ],
    ids=["text", "no-text", "unicode", "bytes", "no-bytes", "bytearray", "memoryview", "strided", "large"],
)
async def test_message_arrives_as_it_was_sent(
    message: Any, received: str | bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_connection_pair() as (client, server):
        await client.send(message)
        assert await server.receive() == received
        await server.send(message)
        assert await client.receive() == received


@pytest.mark.parametrize("message", [{"a": 1}, 7, None, ["a"], 1.5])
async def test_message_of_another_type_is_refused_and_nothing_is_sent(
    message: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_connection_pair() as (client, server):
        with pytest.raises(LocalProtocolError, match=type(message).__name__):
            await client.send(message)
        await client.send("still usable")
        assert await server.receive() == "still usable"


async def test_text_that_utf8_cannot_encode_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, server):
        with pytest.raises(LocalProtocolError, match="UTF-8"):
            await client.send("half a pair: \ud800")
        await client.send("still usable")
        assert await server.receive() == "still usable"


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, "1000", None, True])
async def test_close_code_that_may_not_be_sent_is_refused(code: Any, autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, _):
        with pytest.raises(LocalProtocolError, match="close code"):
            await client.aclose(code)
        assert client.close_reason is None


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999])
async def test_close_code_that_may_be_sent_arrives(code: int, autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, server):
        await client.aclose(code, "€" * 41)
        assert (await server.wait_closed()).received_code == code
        assert (await server.wait_closed()).received_reason == "€" * 41


@pytest.mark.parametrize(
    ("reason", "says"),
    [("€" * 42, "at most 123 bytes"), ("a\nb", "control"), ("\x7f", "control"), ("\ud800", "UTF-8"), (b"bytes", "str")],
)
async def test_close_reason_that_may_not_be_sent_is_refused(
    reason: Any, says: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_connection_pair() as (client, _):
        with pytest.raises(LocalProtocolError, match=says):
            await client.aclose(1000, reason)
        assert client.close_reason is None


async def test_everything_after_the_close_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, _):
        await client.aclose()
        for attempt in (client.send("x"), client.receive(), client.ping(), client.send_fragments(["x"])):
            with pytest.raises(ConnectionClosedOK):
                await attempt
        with pytest.raises(ConnectionClosedOK):
            async with client.receive_fragments():
                raise AssertionError("nothing can come")


async def test_send_during_the_closing_handshake_knows_our_half_of_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 4000)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.send("too late")
        assert (caught.value.reason.sent_code, caught.value.reason.received_code) == (4000, None)
        assert ws.close_reason is None
        await peer.send(close(4001))
        assert (await ws.wait_closed()).received_code == 4001


# Fragments


async def async_texts() -> AsyncIterator[str]:
    for text in ("a", "", "b"):
        yield text


@pytest.mark.parametrize(
    ("fragments", "sent"),
    [
        (["a", "", "b"], [(TEXT, b"a"), (CONTINUATION, b""), (CONTINUATION, b"b"), (CONTINUATION, b"")]),
        ((piece for piece in (b"a", bytearray(b"b"))), [(BINARY, b"a"), (CONTINUATION, b"b"), (CONTINUATION, b"")]),
        ([], []),
    ],
    ids=["list", "generator", "nothing"],
)
async def test_fragments_go_out_as_frames_of_one_message(
    fragments: Any, sent: list[tuple[int, bytes]], autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_client(close_timeout=1) as (ws, peer):
        await ws.send_fragments(fragments)
        await ws.aclose()
        received = list(frames(await peer.read_to_end()))[:-1]
        assert [(frame.opcode, frame.payload) for frame in received] == sent
        assert [frame.fin for frame in received] == [False] * (len(sent) - 1) + [True] * bool(sent)


async def test_async_iterable_of_fragments_is_one_message(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, server):
        await client.send_fragments(async_texts())
        assert await server.receive() == "ab"
        assert client.statistics().messages_sent == server.statistics().messages_received == 1


async def test_other_messages_wait_for_a_fragmented_one_and_pings_do_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_connection_pair() as (client, server), trio.open_nursery() as nursery:

        async def slowly() -> AsyncIterator[str]:
            for text in ("a", "b", "c"):
                yield text
                await trio.sleep(1)

        nursery.start_soon(client.send_fragments, slowly())
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(client.send, "behind")
        nursery.start_soon(client.send_fragments, ["behind", " that"])
        await client.ping()
        assert trio.current_time() == 0
        assert await server.receive() == "abc"
        assert {await server.receive(), await server.receive()} == {"behind", "behind that"}


@pytest.mark.parametrize(
    ("fragments", "says"),
    [
        (["a", b"b"], "all text or all binary"),
        (["a", 7], "int"),
        ("abc", "iterable of fragments"),
        ([None], "NoneType"),
    ],
)
async def test_fragments_that_are_no_message_are_refused(
    fragments: Any, says: str, autojump_clock: trio.testing.MockClock
) -> None:
    begun = isinstance(fragments, list) and fragments[0] == "a"
    async with open_connection_pair() as (client, server):
        with pytest.raises(LocalProtocolError, match=says):
            await client.send_fragments(fragments)
        if begun:
            assert (await server.wait_closed()).received_code == 1011
        else:
            await client.send("still usable")
            assert await server.receive() == "still usable"


async def test_exception_of_the_iterable_comes_out_and_closes_with_1011(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def fails() -> Iterator[str]:
        yield "a"
        raise KeyError("mine")

    async with open_connection_pair() as (client, server):
        with pytest.raises(KeyError):
            await client.send_fragments(fails())
        reason = await server.wait_closed()
        assert (reason.received_code, reason.received_reason) == (1011, "message cut short")


async def test_pieces_are_received_as_they_arrive(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer):
        await peer.send(frame(TEXT, b"a", fin=False))
        async with ws.receive_fragments() as pieces:
            assert await pieces.receive() == "a"
            await peer.send(frame(CONTINUATION, "é".encode()[:1], fin=False))
            await peer.send(frame(CONTINUATION, "é".encode()[1:], fin=False), frame(PING))
            assert await pieces.receive() == "é"
            await peer.send(frame(CONTINUATION), frame(TEXT, b"next"))
            with pytest.raises(trio.EndOfChannel) as caught:
                await pieces.receive()
            assert not isinstance(caught.value, ConnectionClosedOK)
        assert await ws.receive() == "next"
        await peer.send(close())


async def test_pieces_that_came_before_anybody_asked_are_the_first_piece(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client() as (ws, peer):
        await peer.send(frame(BINARY, b"a", fin=False), frame(CONTINUATION, b"b", fin=False))
        await trio.testing.wait_all_tasks_blocked()
        async with ws.receive_fragments() as pieces:
            assert await pieces.receive() == b"ab"
            await peer.send(frame(CONTINUATION, b"c"), close())
            assert [piece async for piece in pieces] == [b"c"]


@pytest.mark.parametrize("text", [b"whole", b""])
async def test_message_that_arrived_whole_is_one_piece(text: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer):
        await peer.send(frame(TEXT, text), close())
        await ws.wait_closed()
        async with ws.receive_fragments() as pieces:
            assert [piece async for piece in pieces] == [text.decode()]


async def test_messages_in_front_come_first_also_while_they_wait_for_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(max_queue=1) as (ws, peer):
        await peer.send(*(frame(TEXT, b"%d" % number) for number in range(4)), frame(TEXT, b"st", fin=False))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(4):
            async with ws.receive_fragments() as pieces:
                assert [piece async for piece in pieces] == [str(number)]
        async with ws.receive_fragments() as pieces:
            assert await pieces.receive() == "st"
            await peer.send(frame(CONTINUATION, b"ream"), close())
            assert [piece async for piece in pieces] == ["ream"]


@pytest.mark.parametrize("max_queue", [1, 16])
async def test_leaving_the_pieces_early_drops_the_rest_of_that_message_only(
    max_queue: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_client(max_queue=max_queue) as (ws, peer):
        await peer.send(frame(TEXT, b"first", fin=False))
        async with ws.receive_fragments() as pieces:
            assert await pieces.receive() == "first"
            await peer.send(*(frame(CONTINUATION, b"more", fin=False) for _ in range(5)))
            await trio.testing.wait_all_tasks_blocked()
        await peer.send(frame(CONTINUATION, b"even more", fin=False))
        with trio.move_on_after(1) as scope:
            # The message that was left is not begun again.
            async with ws.receive_fragments():
                raise AssertionError("there is no other message yet")
        assert scope.cancelled_caught
        await peer.send(frame(CONTINUATION, b"end"), frame(TEXT, b"next"), close())
        async with ws.receive_fragments() as pieces:
            assert [piece async for piece in pieces] == ["next"]


async def test_pieces_wait_for_a_slow_consumer(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(max_queue=1) as (ws, peer):
        await peer.send(frame(TEXT, b"0", fin=False))
        async with ws.receive_fragments() as pieces:
            await peer.send(
                *(frame(CONTINUATION, b"%d" % number, fin=number == 5) for number in range(1, 6)),
                frame(TEXT, b"next"),
                close(),
            )
            received = []
            async for piece in pieces:
                received.append(piece)
                await trio.sleep(1)
        assert "".join(map(str, received)) == "012345"
        assert await ws.receive() == "next"


@pytest.mark.parametrize("claimed_after", [0, 1, 2], ids=["before", "at-its-header", "in-its-middle"])
async def test_large_frame_is_received_in_pieces_from_whenever_they_are_asked_for(
    claimed_after: int, autojump_clock: trio.testing.MockClock
) -> None:
    message = bytes(range(250)) * 8
    data = frame(BINARY, message)
    steps = [b"", data[: len(data) - len(message)], data[len(data) - len(message) : 1000], data[1000:1500], data[1500:]]
    async with raw_client() as (ws, peer):
        received: list[str | bytes] = []

        async def in_pieces() -> None:
            async with ws.receive_fragments() as pieces:
                received.extend([piece async for piece in pieces])

        async with trio.open_nursery() as nursery:
            for number, step in enumerate(steps):
                await peer.send(step)
                await trio.testing.wait_all_tasks_blocked()
                if number == claimed_after:
                    nursery.start_soon(in_pieces)
                    await trio.testing.wait_all_tasks_blocked()
        assert received == [message[: 1000 - (len(data) - len(message))], *received[1:]]
        assert [len(piece) for piece in received[1:]] == [500, len(data) - 1500]
        assert b"".join(received) == message  # type: ignore[arg-type]


async def test_two_tasks_cannot_receive_in_pieces_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer):
        await peer.send(frame(TEXT, b"a", fin=False))
        async with ws.receive_fragments():
            with pytest.raises(LocalProtocolError, match="another task"):
                async with ws.receive_fragments():
                    raise AssertionError("it should have been refused")
        await peer.send(frame(CONTINUATION), frame(TEXT, b"b"), close())
        async with ws.receive_fragments() as pieces:
            assert await pieces.receive() == "b"


async def test_another_task_may_take_the_message_that_was_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, server), trio.open_nursery() as nursery:
        got: list[str | bytes] = []

        async def whole() -> None:
            got.append(await server.receive())

        async def in_pieces() -> None:
            async with server.receive_fragments() as pieces:
                got.extend([piece async for piece in pieces])

        nursery.start_soon(in_pieces)
        nursery.start_soon(whole)
        await trio.testing.wait_all_tasks_blocked()
        await client.send("one")
        await client.send("two")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(map(str, got)) == ["one", "two"]


# Pings


async def test_ping_measures_the_time_to_its_pong(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer), trio.open_nursery() as nursery:

        async def answer_slowly() -> None:
            ping = await peer.receive()
            assert ping is not None
            await trio.sleep(0.5)
            await peer.send(frame(PONG, b"unsolicited"), frame(PONG, ping.payload))

        nursery.start_soon(answer_slowly)
        assert await ws.ping() == ws.latency == 0.5
        await peer.send(close())


async def test_later_pong_answers_the_pings_before_it(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (ws, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ws.ping)
        pings = [await peer.receive() for _ in range(3)]
        assert pings[2] is not None
        with trio.fail_after(1):
            await peer.send(frame(PONG, pings[2].payload))


async def test_client_masks_every_frame_with_a_fresh_key(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_server() as (ws, peer):
        for _ in range(100):
            await ws.send("x" * 10)
        data = b""
        while len(data) < 100 * 16:
            data += await peer.stream.receive_some()
        assert all(received.masked for received in frames(data))
        assert len({data[start + 2 : start + 6] for start in range(0, len(data), 16)}) > 95
        await peer.send(close(mask=False))


@pytest.mark.parametrize("role", ["client", "server"])
async def test_frame_masked_the_wrong_way_is_refused(role: str, autojump_clock: trio.testing.MockClock) -> None:
    async with (raw_client if role == "server" else raw_server)() as (ws, peer):
        await peer.send(frame(TEXT, b"x", mask=role == "client"))
        assert (await ws.wait_closed()).sent_code == 1002


# What is known about it


async def test_attributes_and_statistics(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair(url="ws://localhost:81/path?query") as (client, server):
        assert client.request.target == server.request.target == "/path?query"
        assert client.request.headers["Host"] == "localhost:81"
        assert client.response.status == server.response.status == 101
        assert client.subprotocol is None
        assert client.local_address is None
        assert client.remote_address is None
        assert len(client.id) == 8
        assert client.id != server.id
        assert repr(client) == f"<WebSocketConnection {client.id} client open>"
        await client.send("12345")
        await server.receive()
        sent, received = client.statistics(), server.statistics()
        assert (sent.messages_sent, sent.bytes_sent) == (1, 11)
        assert (received.messages_received, received.bytes_received) == (1, 11)
        assert (received.queued_messages, sent.held_bytes) == (0, 0)
    assert repr(client).endswith("client closed: we closed with 1000 (normal closure)>")


async def test_debug_log_shows_frames_escaped_and_cut(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_ws")
    async with open_connection_pair() as (client, server):
        await client.send("evil\r\nline \x1b[31m" + "x" * 1000)
        await server.receive()
        await client.send_fragments([b"a", b"b"])
        await server.receive()
        await client.ping()
    text = caplog.text
    assert "\x1b" not in text
    assert r"evil\r\nline \x1b[31m" in text
    assert max(len(line) for line in text.splitlines()) < 400
    assert "trio_ws.server:session.py" in text
    assert client.id in text
    assert server.id in text


async def test_closed_connection_is_not_kept_alive_by_cycles(autojump_clock: trio.testing.MockClock) -> None:
    gc.collect()
    gc.disable()
    try:
        async with open_connection_pair() as (client, server):
            await client.send("x")
            await server.receive()
        refs = [weakref.ref(object) for ws in (client, server) for object in (ws, session_of(ws))]
        del client, server
        await trio.lowlevel.checkpoint()
        assert [ref() for ref in refs] == [None] * 4
    finally:
        gc.enable()


async def test_close_frame_without_payload_is_answered_by_one(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (_, peer):
        await peer.send(close(None))
        received = await peer.receive()
        assert received is not None
        assert (received.opcode, received.payload) == (CLOSE, b"")


async def test_fragments_hold_up_nobody_before_the_first_of_them(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, server), trio.open_nursery() as nursery:

        async def late() -> AsyncIterator[str]:
            await trio.sleep(100)
            yield "late"

        nursery.start_soon(client.send_fragments, late())
        await trio.testing.wait_all_tasks_blocked()
        await client.send("early")
        assert trio.current_time() == 0
        assert [await server.receive(), await server.receive()] == ["early", "late"]


async def test_sending_from_within_ones_own_fragments_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_connection_pair() as (client, _):

        async def confused() -> AsyncIterator[str]:
            yield "a"
            await client.send("in between")

        generator = confused()
        with pytest.raises(LocalProtocolError, match="in the middle of send_fragments"):
            await client.send_fragments(generator)


async def test_receive_gives_other_tasks_a_turn_after_64_messages(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client(max_queue=300) as (ws, peer), trio.open_nursery() as nursery:
        await peer.send(*(frame(TEXT, b"x") for _ in range(400)), close())
        await trio.testing.wait_all_tasks_blocked()
        received, seen = 0, []

        async def other() -> None:
            while received < 400:
                seen.append(received)
                await trio.lowlevel.checkpoint()

        nursery.start_soon(other)
        async for _ in ws:
            received += 1
        assert (
            max(after - before for before, after in pairwise([*seen, 400])) <= 2 * 64
        )  # before us in one turn, behind us in the next


async def test_pings_that_are_given_up_do_not_pile_up(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client(lockstep=True, write_limit=100, ping_interval=None, close_timeout=1) as (ws, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "nobody reads this")
            for _ in range(1000):
                with trio.move_on_after(0.001):
                    await ws.ping()
            assert ws.statistics().held_bytes < 200
            pings = []

            async def ping_until_it_ends() -> None:
                with pytest.raises(ConnectionClosedError):
                    await ws.ping()
                pings.append(True)

            nursery.start_soon(ping_until_it_ends)
            await trio.testing.wait_all_tasks_blocked()
            await peer.stream.aclose()
            with pytest.raises(ConnectionClosedError):
                await ws.receive()
            nursery.cancel_scope.cancel()


async def test_who_waits_for_a_message_in_pieces_hears_what_failed_underneath(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_client() as (ws, peer):
        await peer.send(frame(TEXT, b"x", rsv=2))
        with pytest.raises(ConnectionClosedError) as caught:
            async with ws.receive_fragments():
                pytest.fail("there is no message")
        assert isinstance(caught.value.__cause__, RemoteProtocolError)
        await peer.read_to_end()
