"""RFC 7692, what both sides agree on, and that they then keep to it (§5, §7, §7.1). The ids are section numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import RawPeer, raw_client, raw_server
from tests.sides import CLIENT, SERVER
from tests.zlib_peer import FIELD, REPETITIVE, Half, compressing, exchange, parameters, request
from trio_ws import Deflate, RemoteHandshakeError, wrap_client_stream

# Repetitions near and far: whoever uses a larger window than agreed on refers to something that the other side has
# forgotten, and so does whoever refers to the message before where nothing is taken over.
NOISE = random.Random(7692).randbytes(6000)
MESSAGES: list[str | bytes] = ["Hello", "Hello", NOISE[:700] * 3, NOISE * 3, "", b"", NOISE * 7, REPETITIVE, "Hello"]

SERVER_ALONE, CLIENT_ALONE = "server_no_context_takeover", "client_no_context_takeover"
SERVER_BITS, CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"
#: What a server of ours chooses where it may.
OURS = {SERVER_BITS: "12"}

# The server


@pytest.mark.parametrize(
    ("offers", "options", "answer"),
    [
        pytest.param(["permessage-deflate"], {}, OURS, id="7-no-parameters"),
        pytest.param(["x-other; a=b, permessage-deflate"], {}, OURS, id="5.1-behind-an-unknown-extension"),
        pytest.param(["x-other", "permessage-deflate"], {}, OURS, id="5.1-in-a-second-field"),
        pytest.param(
            [f"permessage-deflate; {CLIENT_BITS}; {SERVER_BITS}=10, permessage-deflate; {CLIENT_BITS}"],
            {},
            {SERVER_BITS: "10", CLIENT_BITS: "12"},
            id="7.1.3-first-of-several-offers",
        ),
        pytest.param(
            [f"permessage-deflate; {SERVER_BITS}=8", f"permessage-deflate; {SERVER_ALONE}"],
            {},
            {SERVER_BITS: "12", SERVER_ALONE: None},
            id="7.1.3-second-of-several-offers",
        ),
        pytest.param([f'permessage-deflate; {SERVER_BITS}="9"'], {}, {SERVER_BITS: "9"}, id="7.1.2.1-quoted"),
        pytest.param([f"permessage-deflate;{SERVER_BITS}=11"], {}, {SERVER_BITS: "11"}, id="7.1.2.1-no-space"),
        pytest.param([f"permessage-deflate; {SERVER_BITS}=15"], {}, OURS, id="7.1.2.1-smaller-than-asked"),
        pytest.param(["permessage-deflate"], {SERVER_BITS: 15}, {}, id="7.1.2.1-largest-window"),
        pytest.param(["permessage-deflate"], {SERVER_BITS: 9}, {SERVER_BITS: "9"}, id="7.1.2.1-not-asked"),
        pytest.param(
            [f"permessage-deflate; {CLIENT_BITS}"], {}, {**OURS, CLIENT_BITS: "12"}, id="7.1.2.2-without-a-value"
        ),
        pytest.param(
            [f"permessage-deflate; {CLIENT_BITS}=15"],
            {},
            {**OURS, CLIENT_BITS: "12"},
            id="7.1.2.2-smaller-than-offered",
        ),
        pytest.param(
            [f"permessage-deflate; {CLIENT_BITS}=9"], {}, {**OURS, CLIENT_BITS: "9"}, id="7.1.2.2-not-more-than-offered"
        ),
        pytest.param(["permessage-deflate"], {CLIENT_BITS: 9}, OURS, id="7.1.2.2-answered-only-if-offered"),
        pytest.param(
            [f"permessage-deflate; {SERVER_ALONE}"], {}, {**OURS, SERVER_ALONE: None}, id="7.1.1.1-asked-and-echoed"
        ),
        pytest.param(
            ["permessage-deflate"], {SERVER_ALONE: True}, {**OURS, SERVER_ALONE: None}, id="7.1.1.1-not-asked"
        ),
        pytest.param(
            ["permessage-deflate"], {CLIENT_ALONE: True}, {**OURS, CLIENT_ALONE: None}, id="7.1.1.2-not-hinted"
        ),
        pytest.param(
            [f"permessage-deflate; {CLIENT_ALONE}; {SERVER_ALONE}; {SERVER_BITS}=9; {CLIENT_BITS}=9"],
            {},
            {CLIENT_ALONE: None, SERVER_ALONE: None, SERVER_BITS: "9", CLIENT_BITS: "9"},
            id="7.1-everything",
        ),
    ],
)
async def test_server_accepts_and_keeps_to_its_answer(
    offers: list[str],
    options: dict[str, Any],
    answer: dict[str, str | None],
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with compressing(SERVER, offers=offers, compression=Deflate(min_size=0, **options)) as (ws, peer):
        assert parameters(ws.response.headers[FIELD]) == answer
        await exchange(ws, peer, MESSAGES)


@pytest.mark.parametrize(
    ("offers", "compression"),
    [
        pytest.param([], "deflate", id="5.1-nothing-offered"),
        pytest.param(["x-webkit-deflate-frame, permessage-bzip2"], "deflate", id="5.1-other-extensions"),
        pytest.param(["permessage-deflate"], None, id="5.1-not-wanted"),
        pytest.param(["permessage-deflate; mode=fast"], "deflate", id="7-unknown-parameter"),
        pytest.param([f"permessage-deflate; {CLIENT_ALONE}; {CLIENT_ALONE}"], "deflate", id="7-repeated-parameter"),
        pytest.param(
            [f"permessage-deflate; {SERVER_BITS}=10; {SERVER_BITS}=11"], "deflate", id="7-repeated-with-another-value"
        ),
        pytest.param([f"permessage-deflate; {SERVER_ALONE}=true"], "deflate", id="7.1.1.1-with-a-value"),
        pytest.param([f"permessage-deflate; {CLIENT_ALONE}=1"], "deflate", id="7.1.1.2-with-a-value"),
        pytest.param([f"permessage-deflate; {SERVER_BITS}"], "deflate", id="7.1.2.1-without-a-value"),
        *(
            pytest.param([f"permessage-deflate; {name}={value}"], "deflate", id=f"{section}-{value}")
            for section, name in [("7.1.2.1", SERVER_BITS), ("7.1.2.2", CLIENT_BITS)]
            for value in ("7", "16", "08", "0", "-9", "abc", "1e1", '"7"', "100")
        ),
        # RFC 7692 allows it, but zlib cannot compress so.
        pytest.param([f"permessage-deflate; {SERVER_BITS}=8"], "deflate", id="7.1.2.1-8"),
    ],
)
async def test_server_declines_and_the_connection_opens_without(
    offers: list[str], compression: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_client(request=request(offers), compression=compression) as (ws, peer):
        assert FIELD not in ws.response.headers
        await ws.send("Hello" * 100)
        frame = await peer.receive()
        assert frame is not None
        assert (frame.rsv, frame.payload) == (0, b"Hello" * 100)
        await peer.send(SERVER.close())


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        pytest.param([f"permessage-deflate; {parameter}", "permessage-deflate"], OURS, id=f"7.1.3-{name}")
        for name, parameter in [
            ("unknown", "mode=fast"),
            ("repeated", f"{SERVER_ALONE}; {SERVER_ALONE}"),
            ("valued", f"{CLIENT_ALONE}=1"),
            ("without-a-value", SERVER_BITS),
            ("out-of-range", f"{CLIENT_BITS}=16"),
            ("impossible", f"{SERVER_BITS}=8"),
        ]
    ],
)
async def test_offer_behind_one_that_is_declined_is_accepted(
    offers: list[str], answer: dict[str, str | None], autojump_clock: trio.testing.MockClock
) -> None:
    async with compressing(SERVER, offers=offers) as (ws, peer):
        assert parameters(ws.response.headers[FIELD]) == answer
        await exchange(ws, peer, MESSAGES[:3])


async def test_server_inflates_a_window_of_8_bits(autojump_clock: trio.testing.MockClock) -> None:
    async with compressing(SERVER, offers=[f"permessage-deflate; {CLIENT_BITS}=8"]) as (ws, peer):
        assert parameters(ws.response.headers[FIELD])[CLIENT_BITS] == "8"
        # Repeats within 256 bytes: whatever compresses this keeps within the window.
        for _ in range(3):
            await peer.send_compressed(NOISE[:100] * 2)
            assert await ws.receive() == NOISE[:100] * 2


# The client


@pytest.mark.parametrize(
    ("options", "offer"),
    [
        pytest.param({}, {CLIENT_BITS: None}, id="7.1.2.2-any-window"),
        pytest.param({CLIENT_BITS: 9}, {CLIENT_BITS: "9"}, id="7.1.2.2-window"),
        pytest.param({SERVER_BITS: 9}, {SERVER_BITS: "9", CLIENT_BITS: None}, id="7.1.2.1-window"),
        pytest.param({SERVER_ALONE: True}, {SERVER_ALONE: None, CLIENT_BITS: None}, id="7.1.1.1-asked"),
        pytest.param({CLIENT_ALONE: True}, {CLIENT_ALONE: None, CLIENT_BITS: None}, id="7.1.1.2-hinted"),
    ],
)
async def test_client_offers_once(
    options: dict[str, Any], offer: dict[str, str | None], autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_server(compression=Deflate(**options)) as (ws, peer):
        (offered,) = ws.request.headers.get_all(FIELD)
        assert parameters(offered) == offer
        await ws.send("Hello" * 100)  # the server has not accepted
        frame = await peer.receive()
        assert frame is not None
        assert (frame.rsv, frame.payload) == (0, b"Hello" * 100)
        await peer.stream.aclose()


async def test_client_without_compression_offers_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_server(compression=None) as (ws, peer):
        assert FIELD not in ws.request.headers
        await peer.stream.aclose()


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        pytest.param({}, "permessage-deflate", id="7-no-parameters"),
        pytest.param({}, f"permessage-deflate; {SERVER_ALONE}", id="7.1.1.1-not-asked"),
        pytest.param({SERVER_ALONE: True}, f"permessage-deflate; {SERVER_ALONE}", id="7.1.1.1-asked"),
        pytest.param({}, f"permessage-deflate; {CLIENT_ALONE}", id="7.1.1.2-not-hinted"),
        *(
            pytest.param({}, f"permessage-deflate; {SERVER_BITS}={bits}", id=f"7.1.2.1-{bits}-not-asked")
            for bits in range(9, 16)
        ),
        *(pytest.param({}, f"permessage-deflate; {CLIENT_BITS}={bits}", id=f"7.1.2.2-{bits}") for bits in range(9, 16)),
        pytest.param({SERVER_BITS: 12}, f"permessage-deflate; {SERVER_BITS}=9", id="7.1.2.1-less-than-asked"),
        pytest.param({CLIENT_BITS: 12}, f"permessage-deflate; {CLIENT_BITS}=9", id="7.1.2.2-less-than-offered"),
        pytest.param({CLIENT_BITS: 15}, "permessage-deflate", id="7.1.2.2-offered-and-ignored"),
        pytest.param({}, f'permessage-deflate; {CLIENT_BITS}="10"; {SERVER_BITS}="10"', id="7.1.2-quoted"),
        pytest.param(
            {},
            f"permessage-deflate; {SERVER_BITS}=9; {CLIENT_ALONE}; {SERVER_ALONE}; {CLIENT_BITS}=9",
            id="7.1-everything",
        ),
    ],
)
async def test_client_keeps_to_the_answer(
    options: dict[str, Any], answer: str, autojump_clock: trio.testing.MockClock
) -> None:
    compression = Deflate(min_size=0, **options)
    async with compressing(CLIENT, answer=answer.replace('"', ""), compression=compression) as (ws, peer):
        await exchange(ws, peer, MESSAGES)


async def test_client_may_take_nothing_over_although_the_server_ignores_its_hint(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """§7.1.1.2"""
    compression = Deflate(client_no_context_takeover=True)
    async with compressing(CLIENT, compression=compression) as (ws, peer):
        assert CLIENT_ALONE not in peer.parameters
        for _ in range(3):
            peer.receives = Half()
            await ws.send(REPETITIVE)
            assert await peer.receive_message() == (REPETITIVE, True)


async def test_client_keeps_within_the_window_it_offered_although_the_server_ignores_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """§7.1.2.2"""
    async with compressing(CLIENT, compression=Deflate(min_size=0, client_max_window_bits=9)) as (ws, peer):
        assert CLIENT_BITS not in peer.parameters
        peer.receives = Half(9)
        await exchange(ws, peer, MESSAGES)


async def test_client_that_is_to_keep_within_8_bits_sends_plain(autojump_clock: trio.testing.MockClock) -> None:
    answer = f"permessage-deflate; {CLIENT_BITS}=8; {SERVER_BITS}=8"
    async with compressing(CLIENT, answer=answer) as (ws, peer):
        await ws.send("Hello" * 100)
        frame = await peer.receive()
        assert frame is not None
        assert (frame.rsv, frame.payload) == (0, b"Hello" * 100)
        await peer.send_compressed(NOISE[:100] * 2)
        assert await ws.receive() == NOISE[:100] * 2


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        pytest.param(None, ["permessage-deflate"], id="5.1-nothing-offered"),
        pytest.param({}, ["permessage-bzip2"], id="5.1-not-offered"),
        pytest.param({}, ["permessage-deflate, permessage-deflate"], id="5.1-twice"),
        pytest.param({}, ["permessage-deflate", "permessage-deflate"], id="5.1-twice-in-two-fields"),
        pytest.param({}, ["permessage-deflate, permessage-bzip2"], id="5.1-another-behind-it"),
        pytest.param({}, ["permessage-deflate; mode=fast"], id="7-unknown-parameter"),
        pytest.param({}, [f"permessage-deflate; {SERVER_ALONE}; {SERVER_ALONE}"], id="7-repeated-parameter"),
        pytest.param({}, [f"permessage-deflate; {SERVER_ALONE}=1"], id="7.1.1.1-with-a-value"),
        pytest.param({SERVER_ALONE: True}, ["permessage-deflate"], id="7.1.1.1-asked-and-not-answered"),
        pytest.param({}, [f"permessage-deflate; {CLIENT_ALONE}=1"], id="7.1.1.2-with-a-value"),
        pytest.param({SERVER_BITS: 10}, ["permessage-deflate"], id="7.1.2.1-asked-and-not-answered"),
        pytest.param({SERVER_BITS: 10}, [f"permessage-deflate; {SERVER_BITS}=11"], id="7.1.2.1-more-than-asked"),
        pytest.param({CLIENT_BITS: 10}, [f"permessage-deflate; {CLIENT_BITS}=11"], id="7.1.2.2-more-than-offered"),
        pytest.param({}, [f"permessage-deflate; {SERVER_BITS}"], id="7.1.2.1-without-a-value"),
        pytest.param({}, [f"permessage-deflate; {CLIENT_BITS}"], id="7.1.2.2-without-a-value"),
        *(
            pytest.param({}, [f"permessage-deflate; {name}={value}"], id=f"{section}-{value}")
            for section, name in [("7.1.2.1", SERVER_BITS), ("7.1.2.2", CLIENT_BITS)]
            for value in ("7", "16", "08", "-9", "abc", "99")
        ),
    ],
)
async def test_answer_that_keeps_not_to_the_offer_fails_the_handshake(
    options: dict[str, Any] | None, answers: Sequence[str], autojump_clock: trio.testing.MockClock
) -> None:
    compression = None if options is None else Deflate(**options)
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open_as_server, *(f"{FIELD}: {answer}" for answer in answers))
        with pytest.raises(RemoteHandshakeError):
            async with wrap_client_stream(ours, "ws://localhost/", compression=compression):
                raise AssertionError("the connection must not open")
        with trio.fail_after(1):
            assert await peer.read_to_end() == b""
