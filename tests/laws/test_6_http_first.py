"""Law 6: process_request sees every well-formed request, and no bytes from a peer raise past its own connection."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import REQUEST, TEXT, MemoryListener, RawPeer, close, frame
from trio_ws import ConnectionRejected, Request, Response, WebSocketConnection, WebSocketServer, open_websocket_server


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[tuple[WebSocketServer, MemoryListener]]:
    listener = MemoryListener()
    async with open_websocket_server(options.pop("handler", echo), listeners=[listener], **options) as server:
        yield server, listener


async def ask(listener: MemoryListener, request: bytes) -> bytes:
    peer = RawPeer(listener.connect())
    await peer.send(request)
    answer = await peer.read_to_end()
    await peer.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    return answer


async def is_alive(listener: MemoryListener) -> bool:
    peer = RawPeer(listener.connect())
    await peer.open_as_client()
    await peer.send(frame(TEXT, b"alive?"))
    answer = await peer.receive()
    await peer.send(close())
    return answer is not None and answer.payload == b"alive?"


MALFORMED = {
    "empty-line": b"\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no-host": REQUEST.replace(b"Host: localhost\r\n", b""),
    "two-hosts": REQUEST.replace(b"Host: localhost\r\n", b"Host: localhost\r\nHost: localhost\r\n"),
    "idna-bomb": REQUEST.replace(b"localhost", b"xn--" + b"a" * 5000),
    "folded": REQUEST.replace(b"Upgrade: websocket", b"Upgrade:\r\n websocket"),
    "bare-lf": REQUEST.replace(b"\r\n", b"\n"),
    "nul": REQUEST.replace(b"/chat", b"/ch\0at"),
    "nul-in-value": REQUEST.replace(b"localhost", b"local\0host"),
    "space-before-colon": REQUEST.replace(b"Upgrade:", b"Upgrade :"),
    "cr-smuggled": REQUEST.replace(b"localhost", b"localhost\rX: y"),
    "no-version": b"GET /\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "long-line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    "long-head": REQUEST.replace(
        b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 90 + (b"X: " + b"y" * 5000 + b"\r\n") * 4 + b"\r\n"
    ),
    "many-headers": REQUEST.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 101 + b"\r\n"),
    "bad-key": REQUEST.replace(b"dGhl", b"!!!!"),
    "body": REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n") + bytes(9),
    "chunked": REQUEST.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_is_answered_and_the_server_lives(
    name: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_ws")
    async with running() as (server, listener):
        with trio.fail_after(15):
            answer = await ask(listener, MALFORMED[name])
        status = int(answer.split()[1])
        assert 400 <= status < 500 or status == 505
        assert b"\r\nConnection: close\r\n" in answer
        assert len([record for record in caplog.records if "handshake failed" in record.message]) == 1
        assert not any(record.exc_info for record in caplog.records)
        assert server.statistics().refused == 1
        assert await is_alive(listener)


@pytest.mark.parametrize(
    ("request_head", "method", "path"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/healthz", id="plain-get"),
        pytest.param(b"GET /healthz HTTP/1.0\r\n\r\n", "GET", "/healthz", id="http-1.0"),
        pytest.param(b"HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD", "/healthz", id="head"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "*", id="options"),
        pytest.param(b"POST /hook HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "POST", "/hook", id="post"),
        pytest.param(REQUEST, "GET", "/chat", id="websocket"),
        pytest.param(REQUEST.replace(b"13", b"8"), "GET", "/chat", id="wrong-version"),
        pytest.param(REQUEST.replace(b"localhost", b"h\r\nOrigin: http://evil"), "GET", "/chat", id="foreign-origin"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_hook_sees_and_may_answer_every_wellformed_request(
    request_head: bytes, method: str, path: str, kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response(200, "healthy\n")

    async def answer_later(request: Request) -> Response:
        await trio.sleep(1)
        return answer(request)

    async with running(process_request=answer if kind == "plain" else answer_later) as (_, listener):
        response = await ask(listener, request_head)
    assert [(request.method, request.path) for request in seen] == [(method, path)]
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 8" in head
    assert body == (b"" if method == "HEAD" else b"healthy\n")


@pytest.mark.parametrize("hook", ["process_request", "process_response", "select_subprotocol"])
async def test_hook_that_raises_is_a_500_and_the_server_lives(
    hook: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    def raises(*args: object) -> None:
        if broken:
            raise RuntimeError("a bug in the hook")

    async with running(**{hook: raises}) as (_, listener):
        assert (await ask(listener, REQUEST)).startswith(b"HTTP/1.1 500 ")
        assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]
        broken = False
        assert await is_alive(listener)


@pytest.mark.parametrize("hook", ["process_request", "process_response", "select_subprotocol"])
@pytest.mark.parametrize("response", [Response(401, "", {"Content-Length": "0", "Set-Cookie": "a=b"}), Response(101)])
async def test_rejection_that_a_hook_has_met_elsewhere_is_not_the_answer(
    hook: str, response: Response, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook may be a client of another server, and what that answers is for the hook alone."""

    def raises(*args: object) -> None:
        raise ConnectionRejected(response)

    async with running(**{hook: raises}) as (_, listener):
        answer = await ask(listener, REQUEST)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"Set-Cookie" not in answer
        assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


@pytest.mark.parametrize(
    "wrong",
    [
        "not a response",
        Response(101),
        Response(200, "", {"X": "line\r\nbreak"}),
        Response(99),
    ],
    ids=["no-response", "101", "header-injection", "bad-status"],
)
@pytest.mark.parametrize("hook", ["process_request", "process_response"])
async def test_hook_that_returns_nonsense_is_a_500(
    hook: str, wrong: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(**{hook: lambda *_: wrong}) as (_, listener):
        assert (await ask(listener, REQUEST)).startswith(b"HTTP/1.1 500 ")


async def test_hook_that_takes_longer_than_open_timeout_is_a_503(autojump_clock: trio.testing.MockClock) -> None:
    async def dawdle(request: Request) -> None:
        await trio.sleep_forever()

    async with running(process_request=dawdle, open_timeout=3) as (_, listener):
        assert (await ask(listener, REQUEST)).startswith(b"HTTP/1.1 503 ")
        assert trio.current_time() >= 3


async def test_process_response_sees_both_and_may_replace_either(autojump_clock: trio.testing.MockClock) -> None:
    async def process_response(request: Request, response: Response) -> Response | None:
        if response.status == 101 and request.path == "/secret":
            return Response(401, "Who are you?\n", {"WWW-Authenticate": "Basic"})
        if response.status == 101:
            return Response(101, b"", (*response.headers.fields, ("X-Hook", "was here")))
        return Response(404, "Nothing here.\n") if response.status == 426 else None

    async with running(process_response=process_response) as (_, listener):
        peer = RawPeer(listener.connect())
        assert b"\r\nX-Hook: was here\r\n" in await peer.open_as_client()
        await peer.send(close())
        assert (await ask(listener, REQUEST.replace(b"/chat", b"/secret"))).startswith(b"HTTP/1.1 401 ")
        assert (await ask(listener, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert (await ask(listener, REQUEST.replace(b"GET", b"PUT"))).startswith(b"HTTP/1.1 405 ")


async def test_process_response_may_not_change_what_the_client_checks(autojump_clock: trio.testing.MockClock) -> None:
    def forge(request: Request, response: Response) -> Response:
        fields = [(name, "forged" if "Accept" in name else value) for name, value in response.headers.fields]
        return Response(101, b"", fields)

    async with running(process_response=forge) as (_, listener):
        assert (await ask(listener, REQUEST)).startswith(b"HTTP/1.1 500 ")


async def test_head_that_drips_gets_a_408_at_open_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async with running(open_timeout=5) as (_, listener):
        peer = RawPeer(listener.connect())
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                for byte in REQUEST:
                    try:
                        await peer.send(bytes([byte]))
                    except trio.BrokenResourceError:
                        return
                    await trio.sleep(1)

            nursery.start_soon(drip)
            answer = await peer.read_to_end()
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert trio.current_time() <= 8


async def test_frames_right_behind_the_request_are_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as (_, listener):
        peer = RawPeer(listener.connect())
        await peer.open_as_client(REQUEST + frame(TEXT, b"early") + frame(TEXT, b"later")[:3])
        await peer.send(frame(TEXT, b"later")[3:])
        answers = [await peer.receive(), await peer.receive()]
        assert [answer.payload for answer in answers if answer] == [b"early", b"later"]
        await peer.send(close())


@pytest.mark.parametrize("end", range(0, len(REQUEST), 7))
async def test_client_that_goes_away_in_the_middle_of_its_request_is_one_log_line(
    end: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_ws")
    async with running() as (_, listener):
        stream = listener.connect()
        if end:
            await stream.send_all(REQUEST[:end])
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert len(caplog.records) == 1
        assert caplog.records[0].exc_info is None
        assert await is_alive(listener)


async def test_server_header_is_sent_unless_switched_off(autojump_clock: trio.testing.MockClock) -> None:
    plain = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    async with running() as (_, listener):
        assert b"\r\nServer: trio_ws/" in await ask(listener, plain)
    async with running(server_header=None) as (_, listener):
        assert b"\r\nServer: " not in await ask(listener, plain)
    async with running(process_request=lambda _: Response(200, "", {"Server": "mine"})) as (_, listener):
        assert (await ask(listener, plain)).count(b"Server: ") == 1


async def test_page_or_health_check_is_no_failure_in_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_ws")
    async with running(process_request=lambda _: Response(200, "fine")) as (_, listener):
        await ask(listener, REQUEST)
        assert not caplog.records
        caplog.set_level(logging.DEBUG, "trio_ws")
        await ask(listener, REQUEST)
        assert [record.message for record in caplog.records] == ["request answered with 200 OK: 'fine'"]
