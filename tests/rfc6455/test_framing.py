"""RFC 6455, masking and lengths (§5.1 to §5.3). The ids are section numbers."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys

import pytest
import trio
import trio.testing

from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, RawPeer, frame, raw_server
from tests.sides import EITHER_SIDE, Side
from trio_ws import ConnectionClosedError

# Who masks, §5.1


@EITHER_SIDE
@pytest.mark.parametrize("sent", [pytest.param(None, id="whole"), pytest.param(2, id="two-bytes")])
@pytest.mark.parametrize(
    ("opcode", "payload", "fin"),
    [
        pytest.param(TEXT, b"text", True, id="5.1-text"),
        pytest.param(TEXT, b"text", False, id="5.1-first-fragment"),
        pytest.param(TEXT, b"", True, id="5.1-empty"),
        pytest.param(BINARY, b"bytes", True, id="5.1-binary"),
        pytest.param(PING, b"ping", True, id="5.1-ping"),
        pytest.param(PONG, b"pong", True, id="5.1-pong"),
        pytest.param(CLOSE, b"\x03\xe8bye", True, id="5.1-close"),
    ],
)
async def test_frame_masked_the_wrong_way_is_refused_before_anything_of_it_is_heard(
    opcode: int, payload: bytes, fin: bool, sent: int | None, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open() as (ws, peer):
        await peer.send(side.frame(TEXT, b"good"), frame(opcode, payload, fin=fin, mask=not side.peer_masks)[:sent])
        with trio.fail_after(1):
            assert await ws.receive() == "good"
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.receive()
        assert (caught.value.reason.sent_code, caught.value.reason.received_code) == (1002, None)
        answer = await peer.receive()
        assert answer is not None
        assert (answer.opcode, answer.close_code) == (CLOSE, 1002)
        assert await peer.receive() is None


@EITHER_SIDE
@pytest.mark.parametrize("section", [pytest.param("5.1", id="5.1-every-kind-of-frame")])
async def test_client_masks_and_server_does_not(
    section: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    async with side.open(ping_interval=None) as (ws, peer):
        async with trio.open_nursery() as nursery:
            await ws.send("text")
            await ws.send(b"bytes")
            await ws.send("")
            await ws.send_fragments(["a", "b"])
            nursery.start_soon(ws.ping)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(side.frame(PING, b"ping"))
            await trio.testing.wait_all_tasks_blocked()
            received = [await peer.receive() for _ in range(8)]
            pings = [frame.payload for frame in received if frame is not None and frame.opcode == PING]
            await peer.send(side.frame(PONG, pings[0]), side.close())
        received.append(await peer.receive())
        assert [frame.opcode for frame in received if frame is not None] == [1, 2, 1, 1, 0, 0, PING, PONG, CLOSE]
        assert {frame.masked for frame in received if frame is not None} == {not side.peer_masks}
        await peer.stream.aclose()


# How a frame is masked, §5.3


async def mask_keys(count: int) -> list[bytes]:
    """The keys of this many frames of one client."""
    async with raw_server(ping_interval=None) as (ws, peer):
        keys = []
        for _ in range(count):
            await ws.send("x")
            keys.append(await _read_key(peer))
        await peer.send(frame(CLOSE, mask=False))
        await ws.wait_closed()
    return keys


async def _read_key(peer: RawPeer) -> bytes:
    """The key of a frame that holds the letter x; that it does shows that the key has been applied."""
    data = bytes(await peer.stream.receive_some())
    assert len(data) == 7
    assert data[:2] == b"\x81\x81"
    assert data[6] == data[2] ^ ord("x")
    return data[2:6]


@pytest.mark.parametrize("section", [pytest.param("5.3", id="5.3-fresh-key-for-each-frame")])
async def test_no_key_repeats_beyond_chance(section: str, autojump_clock: trio.testing.MockClock) -> None:
    """Of 10,000 random keys of 32 bits 0.01 pairs are equal on average; 3 once in more than a million runs."""
    keys = await mask_keys(10_000)
    assert len(set(keys)) > len(keys) - 3
    # No byte of a key is fixed, and none of them favours a value: each has one of 256 values 39 times on average.
    for position in range(4):
        values = [key[position] for key in keys]
        assert min(values.count(value) for value in range(256)) > 5
        assert max(values.count(value) for value in range(256)) < 100


@pytest.mark.parametrize("section", [pytest.param("5.3", id="5.3-strong-source-of-entropy")])
async def test_keys_come_from_the_operating_system(
    section: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    given = bytearray()
    urandom = os.urandom

    def recorded(size: int) -> bytes:
        given.extend(urandom(size))
        return bytes(given[-size:])

    monkeypatch.setattr(os, "urandom", recorded)
    for key in await mask_keys(100):
        assert key in given


@pytest.mark.parametrize("section", [pytest.param("5.3", id="5.3-not-predictable-from-the-seed")])
async def test_keys_do_not_depend_on_the_seed_of_the_program(
    section: str, autojump_clock: trio.testing.MockClock
) -> None:
    state = random.getstate()
    try:
        random.seed(1)
        first = await mask_keys(100)
        random.seed(1)
        second = await mask_keys(100)
    finally:
        random.setstate(state)
    assert len(set(first) & set(second)) < 3


FORK = """
import os
from trio_ws._wire.protocol import Protocol

protocol = Protocol("client", max_size=None, max_fragments=1)
protocol.message("x")

def keys():
    return b"".join(protocol.message("x")[2:6] for _ in range(100))

read, write = os.pipe()
child = os.fork()
if not child:
    os.write(write, keys())
    os._exit(0)
ours = keys()
os.waitpid(child, 0)
os.write(1, ours + os.read(read, 400))
"""


@pytest.mark.parametrize("section", [pytest.param("5.3", id="5.3-child-after-fork")])
def test_keys_of_a_child_process_are_its_own(section: str) -> None:
    # A program of its own, because one with threads, as the tests have them, should not fork.
    result = subprocess.run([sys.executable, "-c", FORK], check=True, capture_output=True, timeout=60)
    assert len(result.stdout) == 800
    keys = [result.stdout[start : start + 4] for start in range(0, 800, 4)]
    assert len(set(keys)) > 197


# Lengths, §5.2


@EITHER_SIDE
@pytest.mark.parametrize(
    ("size", "extended"),
    [
        *(pytest.param(size, b"", id=f"5.2-{size}-in-7-bits") for size in (0, 1, 125)),
        *(pytest.param(size, struct.pack("!H", size), id=f"5.2-{size}-in-16-bits") for size in (126, 127, 65535)),
        *(pytest.param(size, struct.pack("!Q", size), id=f"5.2-{size}-in-64-bits") for size in (65536, 2**20)),
    ],
)
async def test_length_we_send_takes_the_fewest_bytes(
    size: int, extended: bytes, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    mask_bit = 0 if side.peer_masks else 0x80
    first = {0: size, 2: 126, 8: 127}[len(extended)]
    async with side.open(ping_interval=None) as (ws, peer):
        await ws.send(bytes(size))
        data = b""
        header = bytes([0x82, mask_bit | first]) + extended
        while len(data) < len(header) + size + (4 if mask_bit else 0):
            data += await peer.stream.receive_some()
        assert data.startswith(header)
        await peer.send(side.close())


@EITHER_SIDE
@pytest.mark.parametrize(
    ("size", "first", "form"),
    [
        *(pytest.param(size, 126, "!BBH", id=f"5.2-{size}-in-16-bits") for size in (0, 1, 125)),
        *(pytest.param(size, 127, "!BBQ", id=f"5.2-{size}-in-64-bits") for size in (0, 1, 125, 126, 65535)),
    ],
)
async def test_length_that_takes_more_bytes_than_it_must_is_refused_from_the_header(
    size: int, first: int, form: str, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    mask_bit = 0x80 if side.peer_masks else 0
    async with side.open() as (ws, peer):
        await peer.send(struct.pack(form, 0x82, mask_bit | first, size))
        with trio.fail_after(1):
            assert (await ws.wait_closed()).sent_code == 1002


@EITHER_SIDE
@pytest.mark.parametrize(
    ("size", "form"), [pytest.param(126, "!BBH", id="5.5-16-bits"), pytest.param(65536, "!BBQ", id="5.5-64-bits")]
)
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_control_frame_has_a_length_of_7_bits(
    size: int, form: str, opcode: int, side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    mask_bit = 0x80 if side.peer_masks else 0
    async with side.open() as (ws, peer):
        await peer.send(struct.pack(form, 0x80 | opcode, mask_bit | (126 if form == "!BBH" else 127), size))
        with trio.fail_after(1):
            assert (await ws.wait_closed()).sent_code == 1002
