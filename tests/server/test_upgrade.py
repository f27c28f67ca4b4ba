"""receive_upgrade() and wrap_server_stream(): the server's side of one opening handshake, on any stream."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import ACCEPT, KEY, REQUEST, TEXT, RawPeer, close, frame
from trio_ws import (
    ConnectionRejected,
    HandshakeError,
    HandshakeTimeout,
    LocalHandshakeError,
    RemoteHandshakeError,
    Request,
    Response,
    receive_upgrade,
    wrap_server_stream,
)
from trio_ws.testing import FaultyStream

WITH_PROTOCOLS = REQUEST.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\n\r\n")


def stream_with(data: bytes) -> tuple[trio.StapledStream[Any, Any], RawPeer]:
    ours, theirs = trio.testing.memory_stream_pair()
    ours.receive_stream.put_data(data)
    return ours, RawPeer(theirs)


async def test_upgrade_is_looked_at_and_then_accepted(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(WITH_PROTOCOLS + frame(TEXT, b"early") + close())
    async with receive_upgrade(ours) as upgrade:
        assert (upgrade.request.method, upgrade.request.path) == ("GET", "/chat")
        async with upgrade.accept(subprotocol="b", headers={"X-Extra": "1"}) as ws:
            assert ws.subprotocol == "b"
            assert ws.request is upgrade.request
            assert [message async for message in ws] == ["early"]
    head = await peer.read_head()
    assert f"\r\nSec-WebSocket-Accept: {ACCEPT}\r\n".encode() in head
    assert b"\r\nSec-WebSocket-Protocol: b\r\n" in head
    assert b"\r\nX-Extra: 1\r\n" in head


async def test_upgrade_is_rejected_with_a_response_of_the_callers(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(REQUEST)
    async with receive_upgrade(ours) as upgrade:
        await upgrade.reject(Response(401, "Who are you?", {"WWW-Authenticate": "Basic"}))
        with pytest.raises(LocalHandshakeError, match="already"):
            await upgrade.reject(Response(403))
    answer = await peer.read_to_end()
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert answer.endswith(b"\r\n\r\nWho are you?")


async def test_request_that_nobody_answers_gets_a_500(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(REQUEST)
    async with receive_upgrade(ours):
        pass
    assert (await peer.read_to_end()).startswith(b"HTTP/1.1 500 ")


async def test_exception_before_the_answer_is_a_500_and_comes_out(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(REQUEST)
    with pytest.raises(KeyError):
        async with receive_upgrade(ours):
            raise KeyError("mine")
    assert (await peer.read_to_end()).startswith(b"HTTP/1.1 500 ")


async def test_accepting_what_is_no_upgrade_tells_the_client_why(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    with pytest.raises(ConnectionRejected) as caught:
        async with receive_upgrade(ours) as upgrade, upgrade.accept():
            raise AssertionError("it should not have opened")
    assert caught.value.response.status == 426
    assert (await peer.read_to_end()).startswith(b"HTTP/1.1 426 ")


async def test_subprotocol_that_was_not_offered_cannot_be_accepted(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(WITH_PROTOCOLS)
    with pytest.raises(LocalHandshakeError, match="did not offer"):
        async with receive_upgrade(ours) as upgrade, upgrade.accept(subprotocol="d"):
            raise AssertionError("it should not have opened")
    assert (await peer.read_to_end()).startswith(b"HTTP/1.1 500 ")


async def test_reject_is_not_for_101(autojump_clock: trio.testing.MockClock) -> None:
    ours, _ = stream_with(REQUEST)
    async with receive_upgrade(ours) as upgrade:
        with pytest.raises(LocalHandshakeError, match="accept"):
            await upgrade.reject(Response(101))


async def test_request_that_was_read_elsewhere_is_adopted_with_what_came_behind_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, peer = stream_with(frame(TEXT, b"whole")[4:] + close())
    request = Request(
        "GET",
        "/adopted",
        {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "keep-alive, Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        },
    )
    async with wrap_server_stream(ours, request=request, initial_data=frame(TEXT, b"whole")[:4]) as ws:
        assert ws.request is request
        assert [message async for message in ws] == ["whole"]
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")


async def test_request_whose_beginning_was_read_elsewhere(autojump_clock: trio.testing.MockClock) -> None:
    ours, _ = stream_with(REQUEST[10:] + close())
    async with wrap_server_stream(ours, initial_data=REQUEST[:10]) as ws:
        assert (await ws.wait_closed()).ok


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, None),
        ({"subprotocols": ["x", "c", "a"]}, "c"),
        ({"subprotocols": ["x"]}, None),
        ({"select_subprotocol": lambda request, offered: offered[-1]}, "c"),
        ({"select_subprotocol": lambda request, offered: None, "subprotocols": ["a"]}, None),
    ],
)
async def test_subprotocol_is_the_servers_preference(
    options: dict[str, Any], chosen: str | None, autojump_clock: trio.testing.MockClock
) -> None:
    ours, peer = stream_with(WITH_PROTOCOLS + close())
    async with wrap_server_stream(ours, **options) as ws:
        assert ws.subprotocol == chosen
    assert (b"Sec-WebSocket-Protocol" in await peer.read_head()) is (chosen is not None)


async def test_subprotocol_with_a_long_name_is_accepted(autojump_clock: trio.testing.MockClock) -> None:
    long = "a" * 4000
    ours, peer = stream_with(REQUEST[:-2] + f"Sec-WebSocket-Protocol: {long}\r\n\r\n".encode() + close())
    async with wrap_server_stream(ours, select_subprotocol=lambda request, offered: offered[0]) as ws:
        assert ws.subprotocol == long
    assert f"\r\nSec-WebSocket-Protocol: {long}\r\n".encode() in await peer.read_head()


async def test_selecting_what_was_not_offered_is_a_bug_of_the_hook(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(WITH_PROTOCOLS)
    with pytest.raises(ConnectionRejected):
        async with wrap_server_stream(ours, select_subprotocol=lambda request, offered: "zzz"):
            raise AssertionError("it should not have opened")
    assert (await peer.read_to_end()).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ("same-host", None, True),
        ("same-host", "http://localhost", True),
        ("same-host", "http://evil.example", False),
        ("any", "http://evil.example", True),
        (["https://example.org"], "https://example.org", True),
        (["https://example.org"], None, False),
        ([re.compile(r"https://.*\.example\.org"), None], None, True),
        ([re.compile(r"https://.*\.example\.org")], "https://a.example.org", True),
    ],
)
async def test_origin_is_checked(
    origins: Any, origin: str | None, allowed: bool, autojump_clock: trio.testing.MockClock
) -> None:
    header = b"" if origin is None else f"\r\nOrigin: {origin}".encode()
    ours, peer = stream_with(REQUEST.replace(b"\r\n\r\n", header + b"\r\n\r\n") + close())
    with nullcontext() if allowed else pytest.raises(ConnectionRejected):
        async with wrap_server_stream(ours, origins=origins):
            pass
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 " if allowed else b"HTTP/1.1 403 ")


async def test_client_that_goes_away_is_a_handshake_error(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(REQUEST[:20])
    await peer.stream.aclose()
    with pytest.raises(RemoteHandshakeError, match="went away"):
        async with wrap_server_stream(ours):
            raise AssertionError("it should not have opened")


async def test_stream_that_breaks_is_a_handshake_error(autojump_clock: trio.testing.MockClock) -> None:
    for call in (1, 2):
        ours, _ = stream_with(REQUEST)
        with pytest.raises(HandshakeError) as caught:
            async with wrap_server_stream(FaultyStream(ours, fail_at_call=call)):
                raise AssertionError("it should not have opened")
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)


async def test_client_that_does_not_take_the_answer_is_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, REQUEST)
        with pytest.raises(HandshakeTimeout):
            async with wrap_server_stream(ours, open_timeout=3):
                raise AssertionError("it should not have opened")
        assert trio.current_time() == pytest.approx(3, abs=0.05)


async def test_without_open_timeout_the_client_may_take_its_time(autojump_clock: trio.testing.MockClock) -> None:
    ours, peer = stream_with(b"")
    async with trio.open_nursery() as nursery:

        async def much_later() -> None:
            await trio.sleep(50_000)
            await peer.send(REQUEST, close())

        nursery.start_soon(much_later)
        async with wrap_server_stream(ours, open_timeout=None, close_timeout=None) as ws:
            assert (await ws.wait_closed()).ok


async def test_time_that_the_caller_takes_to_decide_is_not_the_clients_fault(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, peer = stream_with(REQUEST + close())
    async with receive_upgrade(ours, open_timeout=3) as upgrade:
        await trio.sleep(100)
        async with upgrade.accept() as ws:
            assert (await ws.wait_closed()).ok
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")


async def test_large_page_may_take_longer_than_close_timeout_as_long_as_it_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    peer = RawPeer(theirs)
    page = bytes(10 * 2**14)
    async with trio.open_nursery() as nursery:
        body = b""

        async def read_slowly() -> None:
            nonlocal body
            await peer.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            while chunk := await theirs.receive_some(2**14):
                body += chunk
                await trio.sleep(1)
            await theirs.aclose()

        nursery.start_soon(read_slowly)
        with pytest.raises(ConnectionRejected):
            async with wrap_server_stream(ours, process_request=lambda _: Response(200, page), close_timeout=2):
                raise AssertionError("it should not have opened")
    assert body.endswith(page)
    assert trio.current_time() > 9


async def test_client_that_takes_nothing_of_the_page_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with pytest.raises(HandshakeTimeout):
            async with wrap_server_stream(ours, process_request=lambda _: Response(200, "page"), close_timeout=2):
                raise AssertionError("it should not have opened")
    assert trio.current_time() == pytest.approx(2, abs=0.05)
