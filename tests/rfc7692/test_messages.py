"""RFC 7692, compressed messages on the wire (§6, §7.2). The ids are section numbers."""

from __future__ import annotations

import random
import zlib
from itertools import pairwise

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, RawPeer
from tests.sides import EITHER_SIDE, Side
from tests.zlib_peer import RSV1, TAIL, Half, compressing, exchange
from trio_ws import ConnectionClosedError, WebSocketConnection

# The examples, as they stand in the RFC: whole frames of a server's, in hex.
EXAMPLES = [
    pytest.param(["c1 07 f2 48 cd c9 c9 07 00"], ["Hello"], id="7.2.3.1-one-frame"),
    pytest.param(["41 03 f2 48 cd", "80 04 c9 c9 07 00"], ["Hello"], id="7.2.3.1-two-frames"),
    pytest.param(
        ["c1 07 f2 48 cd c9 c9 07 00", "c1 05 f2 00 11 00 00"], ["Hello", "Hello"], id="7.2.3.2-shared-window"
    ),
    pytest.param(
        ["c1 07 f2 48 cd c9 c9 07 00", "c1 07 f2 48 cd c9 c9 07 00"], ["Hello", "Hello"], id="7.2.3.2-window-not-shared"
    ),
    pytest.param(["c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"], ["Hello"], id="7.2.3.3-no-compression"),
    pytest.param(["c1 08 f3 48 cd c9 c9 07 00 00"], ["Hello"], id="7.2.3.4-BFINAL"),
    pytest.param(["c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00"], ["Hello"], id="7.2.3.5-two-blocks"),
    pytest.param(["c1 01 00"], [""], id="7.2.3.6-empty"),
]


def as_the_peer_sends(side: Side, example: str) -> bytes:
    data = bytes.fromhex(example)
    first, size, payload = data[0], data[1], data[2:]
    assert size == len(payload)
    return side.frame(first & 15, payload, fin=bool(first & 0x80), rsv=first >> 4 & 7)


async def expect_failure(ws: WebSocketConnection, peer: RawPeer, code: int) -> None:
    """Nothing is received, and the peer gets one close frame."""
    with trio.fail_after(1):
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert (caught.value.reason.sent_code, caught.value.reason.received_code) == (code, None)
        frame = await peer.receive()
        assert frame is not None
        assert (frame.opcode, frame.close_code, frame.rsv) == (CLOSE, code, 0)
        assert await peer.receive() is None


# What comes in


@EITHER_SIDE
@pytest.mark.parametrize(("frames", "messages"), EXAMPLES)
async def test_example_of_the_rfc_is_understood_however_its_bytes_arrive(
    frames: list[str], messages: list[str], side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    data = b"".join(as_the_peer_sends(side, frame) for frame in frames)
    async with compressing(side, ping_interval=None) as (ws, peer):
        for cut in range(len(data)):
            await peer.send(data[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(data[cut:])
            for message in messages:
                with trio.fail_after(1):
                    assert await ws.receive() == message


@EITHER_SIDE
@pytest.mark.parametrize(
    ("opcode", "payload"),
    [
        pytest.param(PING, b"", id="6.1-ping"),
        pytest.param(PING, b"\x00\x00\xff\xff" * 31, id="6.1-long-ping"),
        pytest.param(PONG, b"\xf2\x48\xcd", id="6.1-pong"),
    ],
)
async def test_control_frames_between_compressed_fragments_are_not_compressed_and_disturb_nothing(
    opcode: int, payload: bytes, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    """Behind any byte of the compressed data, and with every read ending in any place."""
    message = "Hello, Hello"
    async with compressing(side, ping_interval=None, read_limit=7) as (ws, peer):
        for cut in range(len(Half().compress(message.encode())) - 5):
            data = peer.sends.compress(message.encode())
            await peer.send(
                side.frame(opcode, payload),
                side.frame(TEXT, data[:cut], fin=False, rsv=RSV1),
                side.frame(opcode, payload),
                side.frame(CONTINUATION, data[cut:], fin=False),
                side.frame(opcode, payload),
                side.frame(CONTINUATION),
                side.frame(PING, b"end"),
            )
            with trio.fail_after(1):
                assert await ws.receive() == message
                while (answer := await peer.receive()) != Frame(PONG, b"end", masked=not side.peer_masks):
                    assert answer == Frame(PONG, payload, masked=not side.peer_masks)
                    assert opcode == PING


@EITHER_SIDE
async def test_compressed_and_plain_messages_mix(side: Side, autojump_clock: trio.testing.MockClock) -> None:
    """§6: a plain message in between is nothing that a compressed one may refer to."""
    async with compressing(side) as (ws, peer):
        for number in range(3):
            await exchange(ws, peer, ["Hello", "x-plain x-plain"[:number], b"Hello" * 1000])
            plain = b"Hello, not compressed" * 10
            await peer.send(side.frame(TEXT, plain[:20], fin=False), side.frame(CONTINUATION, plain[20:]))
            assert await ws.receive() == plain.decode()
            await ws.send(plain, compress=False)
            assert await peer.receive_message() == (plain, False)


@EITHER_SIDE
@pytest.mark.parametrize(
    ("opcode", "rsv", "fragment"),
    [
        pytest.param(CONTINUATION, RSV1, True, id="6-continuation"),
        pytest.param(PING, RSV1, False, id="6-ping"),
        pytest.param(PONG, RSV1, False, id="6-pong"),
        pytest.param(CLOSE, RSV1, False, id="6-close"),
        pytest.param(PING, RSV1, True, id="6-ping-between-fragments"),
        pytest.param(TEXT, 2, False, id="6-RSV2"),
        pytest.param(TEXT, 1, False, id="6-RSV3"),
        pytest.param(BINARY, RSV1 | 2, False, id="6-RSV1-and-RSV2"),
    ],
)
async def test_reserved_bit_where_it_may_not_be_is_1002(
    opcode: int, rsv: int, fragment: bool, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with compressing(side) as (ws, peer):
        if fragment:
            await peer.send(side.frame(TEXT, peer.sends.compress(b"Hello"), fin=False, rsv=RSV1))
        await peer.send(side.frame(opcode, b"\x00", rsv=rsv))
        await expect_failure(ws, peer, 1002)


@EITHER_SIDE
@pytest.mark.parametrize("opcode", [pytest.param(TEXT, id="6-text"), pytest.param(BINARY, id="6-binary")])
@pytest.mark.parametrize(
    "compression", [pytest.param(None, id="not-wanted"), pytest.param("deflate", id="not-agreed-on")]
)
async def test_compressed_message_that_was_not_negotiated_is_1002(
    compression: str | None, opcode: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open(compression=compression) as (ws, peer):
        await peer.send(side.frame(opcode, Half().compress(b"Hello"), rsv=RSV1))
        await expect_failure(ws, peer, 1002)


@EITHER_SIDE
@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\xff\xff\xff", 1007, id="7.2.2-no-block-type"),
        pytest.param(b"\x00\x05\x00\xff\xffHello", 1007, id="7.2.2-length-of-a-stored-block"),
        pytest.param(bytes.fromhex("f2 00 11 00 00"), 1007, id="7.2.2-refers-to-what-never-was"),
        pytest.param(b"\x00\x0a\x00\xf5\xffHello", 1007, id="7.2.2-cut-short"),
        pytest.param(Half().compress(b"Hello\xff"), 1007, id="6455-8.1-text-that-is-not-utf8"),
        pytest.param(Half().compress("€".encode()[:2]), 1007, id="6455-8.1-text-that-ends-in-a-character"),
    ],
)
@pytest.mark.parametrize("fragments", [pytest.param(False, id="one-frame"), pytest.param(True, id="a-byte-a-frame")])
async def test_data_that_does_not_inflate_to_a_message_is_1007(
    data: bytes, code: int, fragments: bool, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with compressing(side) as (ws, peer):
        await exchange(ws, peer, [b""])
        if fragments:
            await peer.send(side.frame(TEXT, fin=False, rsv=RSV1))
            await peer.send(*(side.frame(CONTINUATION, data[at : at + 1], fin=False) for at in range(len(data))))
            await peer.send(side.frame(CONTINUATION))
        else:
            await peer.send(side.frame(TEXT, data, rsv=RSV1))
        await expect_failure(ws, peer, code)


@EITHER_SIDE
async def test_last_block_of_a_stream_may_be_followed_by_others(
    side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    """§7.2.3.4: by the empty block of its own message, by more data, and by the next message, which begins anew."""
    async with compressing(side) as (ws, peer):
        for _ in range(3):
            compressor = zlib.compressobj(wbits=-15)
            final = compressor.compress(b"Hello" * 100) + compressor.flush(zlib.Z_FINISH)
            await peer.send(side.frame(TEXT, final + b"\x00", rsv=RSV1))
            assert await ws.receive() == "Hello" * 100
            peer.sends = Half()  # what came before is nothing to refer to any more
            await peer.send(side.frame(TEXT, final + peer.sends.compress(b", and so on"), rsv=RSV1))
            assert await ws.receive() == "Hello" * 100 + ", and so on"
            await peer.send_compressed("Hello" * 100)
            assert await ws.receive() == "Hello" * 100


@EITHER_SIDE
@pytest.mark.parametrize("section", [pytest.param("7.1.1", id="7.1.1-window-is-forgotten")])
async def test_message_that_refers_to_one_before_although_none_may_is_1007(
    section: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    parameter = f"permessage-deflate; {'client' if side.role == 'server' else 'server'}_no_context_takeover"
    async with compressing(side, offers=[parameter], answer=parameter) as (ws, peer):
        await exchange(ws, peer, ["Hello", "Hello"])
        await peer.send(side.frame(TEXT, bytes.fromhex("f2 00 11 00 00"), rsv=RSV1))  # the example of §7.2.3.2
        await expect_failure(ws, peer, 1007)


# How much comes in


@EITHER_SIDE
@pytest.mark.parametrize("excess", [pytest.param(excess, id=f"limit{excess:+}") for excess in (-1, 0, 1, 2, 65536)])
@pytest.mark.parametrize("size", [pytest.param(0, id="one-frame"), pytest.param(1, id="tiny-frames"), 100, 10_000])
@pytest.mark.parametrize("content", ["zeros", "noise", "text"])
async def test_message_is_exact_up_to_max_size_and_1009_beyond(
    content: str, size: int, excess: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    limit = 20_000
    length = limit + excess
    message = {
        "zeros": bytes(length),
        "noise": random.Random(1).randbytes(length),
        "text": b"x" * (length % 9) + b"Hello, \xc3\xa9" * (length // 9),
    }[content]
    opcode = TEXT if content == "text" else BINARY
    async with compressing(side, max_size=limit, max_fragments=length * 2, ping_interval=None) as (ws, peer):
        data = peer.sends.compress(message)
        edges = [*range(0, len(data), size or len(data)), len(data)]
        frames = [
            side.frame(
                CONTINUATION if start else opcode, data[start:end], fin=end == len(data), rsv=0 if start else RSV1
            )
            for start, end in pairwise(edges)
        ]
        await peer.send(*frames)
        if excess > 0:
            await expect_failure(ws, peer, 1009)
        else:
            with trio.fail_after(1):
                received = await ws.receive()
                assert received == (message.decode() if content == "text" else message)
                await exchange(ws, peer, [bytes(limit), "and on it goes"])  # the count begins anew


# What goes out


@EITHER_SIDE
@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        pytest.param("Hello", TEXT, "f2 48 cd c9 c9 07 00", id="7.2.3.1-text"),
        pytest.param(b"Hello", BINARY, "f2 48 cd c9 c9 07 00", id="7.2.3.1-binary"),
        pytest.param("", TEXT, "00", id="7.2.3.6-empty"),
    ],
)
async def test_first_message_we_send_is_the_example_of_the_rfc(
    message: str | bytes, opcode: int, payload: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with compressing(side) as (ws, peer):
        await ws.send(message)
        assert await peer.receive() == Frame(opcode, bytes.fromhex(payload), masked=not side.peer_masks, rsv=RSV1)


@EITHER_SIDE
async def test_second_message_we_send_refers_to_the_first(side: Side, autojump_clock: trio.testing.MockClock) -> None:
    """§7.2.3.2, as far as its own words allow: that the second one is shorter."""
    async with compressing(side) as (ws, peer):
        sizes = []
        for _ in range(2):
            await ws.send("Hello")
            frame = await peer.receive()
            assert frame is not None
            assert peer.receives.inflate(frame.payload) == b"Hello"
            sizes.append(len(frame.payload))
        assert sizes == [7, 5]


@EITHER_SIDE
@pytest.mark.parametrize("section", [pytest.param("7.2.1", id="7.2.1-tail-is-removed")])
async def test_message_we_send_goes_without_the_tail(
    section: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    noise = random.Random(2).randbytes(100)
    async with compressing(side) as (ws, peer):
        for size in range(100):
            await ws.send(noise[:size])
            frame = await peer.receive()
            assert frame is not None
            assert frame.rsv == RSV1
            assert frame.payload
            assert not frame.payload.endswith(TAIL)
            assert peer.receives.inflate(frame.payload) == noise[:size]


@EITHER_SIDE
@pytest.mark.parametrize("compress", [pytest.param(True, id="6-compressed"), pytest.param(False, id="6-plain")])
async def test_fragments_we_send_are_one_message_and_only_the_first_has_rsv1(
    compress: bool, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with compressing(side, ping_interval=None) as (ws, peer):
        for _ in range(3):
            await ws.send_fragments(["Hello", "", ", ", "Hello" * 100], compress=compress)
            assert await peer.receive_message() == ("Hello, " + "Hello" * 100, compress)
            await ws.send("Hello")
            assert await peer.receive_message() == ("Hello", True)


@EITHER_SIDE
async def test_control_frames_we_send_are_never_compressed(side: Side, autojump_clock: trio.testing.MockClock) -> None:
    """§6: also between fragments, and however well it would do them."""
    async with compressing(side, ping_interval=None) as (ws, peer), trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[str](0)
        nursery.start_soon(ws.send_fragments, receive)
        await send.send("Hello")
        nursery.start_soon(ws.ping)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(side.frame(PING, b"p" * 125))
        await trio.testing.wait_all_tasks_blocked()
        await send.send("Hello")
        send.close()
        await trio.testing.wait_all_tasks_blocked()
        received = [await peer.receive() for _ in range(5)]
        assert [(frame.opcode, frame.rsv) for frame in received if frame is not None] == [
            (TEXT, RSV1),
            (PING, 0),
            (PONG, 0),
            (CONTINUATION, 0),
            (CONTINUATION, 0),
        ]
        assert received[1] is not None
        assert received[2] is not None
        assert received[2].payload == b"p" * 125
        await peer.send(side.frame(PONG, received[1].payload))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.aclose, 4000, "c" * 123)
        closing = await peer.receive()
        assert closing is not None
        assert (closing.opcode, closing.rsv, closing.payload[2:]) == (CLOSE, 0, b"c" * 123)
        await peer.send(side.close(4000))
        await peer.stream.aclose()
