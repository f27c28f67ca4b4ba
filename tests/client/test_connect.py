"""open_websocket(), connect_websocket() and wrap_client_stream(): the client's way to an open connection."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.raw import RawPeer, close, raw_server, until
from trio_ws import (
    ConnectionRejected,
    HandshakeError,
    HandshakeTimeout,
    InvalidURL,
    RemoteHandshakeError,
    Response,
    WebSocketConnection,
    connect_websocket,
    open_websocket,
    open_websocket_server,
    wrap_client_stream,
)
from trio_ws.testing import FaultyStream

CA = trustme.CA()


async def echo(ws: WebSocketConnection) -> None:
    async for message in ws:
        await ws.send(message)


def server_context(*names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(*names).configure_cert(context)
    return context


def trusting_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


async def test_url_that_is_none_is_refused_before_anything_is_connected() -> None:
    for url in ("http://localhost/", "ws://", "ws://localhost/#fragment", "ws://localhost:0/", "ws://a\nb/"):
        with pytest.raises(InvalidURL):
            async with open_websocket(url):
                raise AssertionError("it should not have opened")


async def test_nobody_there_is_a_handshake_error_with_its_cause() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(HandshakeError, match=f"127.0.0.1 port {port}") as caught:
        async with open_websocket(f"ws://127.0.0.1:{port}/"):
            raise AssertionError("it should not have opened")
    assert isinstance(caught.value.__cause__, OSError)


async def test_server_that_accepts_and_says_nothing_is_a_timeout() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        for scheme in ("ws", "wss"):
            url = f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/"
            with pytest.raises(HandshakeTimeout), trio.fail_after(10):
                async with open_websocket(url, open_timeout=0.05):
                    raise AssertionError("it should not have opened")


async def test_tls_verifies_the_certificate_and_its_name_by_default() -> None:
    async with open_websocket_server(echo, "127.0.0.1", 0, ssl_context=server_context("localhost")) as server:
        good = f"wss://localhost:{server.port}/"
        async with open_websocket(good, ssl_context=trusting_context()) as ws:
            await ws.send("secret")
            assert await ws.receive() == "secret"
            await ws.send(bytes(300_000))
            assert await ws.receive() == bytes(300_000)
            assert ws.remote_address == ("127.0.0.1", server.port)
        assert ws.close_reason is not None
        assert ws.close_reason.ok
        with pytest.raises(HandshakeError, match="certificate verify failed"):
            async with open_websocket(good):
                raise AssertionError("nobody knows this certificate's issuer")
        with pytest.raises(HandshakeError, match="IP address mismatch") as caught:
            async with open_websocket(good.replace("localhost", "127.0.0.1"), ssl_context=trusting_context()):
                raise AssertionError("the certificate is for another name")
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        with pytest.raises(HandshakeError):
            async with open_websocket(good.replace("wss", "ws")):
                raise AssertionError("that port speaks TLS")
        async with open_websocket(good, ssl_context=trusting_context()) as ws:
            await ws.send("the server has survived all of that")
            await ws.receive()


async def test_tls_client_gets_1001_and_the_reason_for_a_refusal() -> None:
    context = server_context("localhost")
    async with open_websocket_server(
        echo, "127.0.0.1", 0, ssl_context=context, max_size=1000, process_request=lambda _: None
    ) as server:
        url = f"wss://localhost:{server.port}/"
        async with open_websocket(url, ssl_context=trusting_context()) as ws:
            await ws.send(bytes(1001))
            assert (await ws.wait_closed()).received_code == 1009
        async with open_websocket(url, ssl_context=trusting_context()) as ws:
            server.shutdown()
            assert (await ws.wait_closed()).received_code == 1001


async def test_alpn_is_http_1_1_and_nothing_else() -> None:
    async with open_websocket_server(echo, "127.0.0.1", 0, ssl_context=server_context("localhost")) as server:
        both = trusting_context()
        both.set_alpn_protocols(["h2", "http/1.1"])
        async with open_websocket(f"wss://localhost:{server.port}/", ssl_context=both) as ws:
            await ws.ping()
    h2_only = server_context("localhost")
    h2_only.set_alpn_protocols(["h2"])
    listeners = await trio.open_ssl_over_tcp_listeners(0, h2_only, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _read_to_end, listeners)
        port = listeners[0].transport_listener.socket.getsockname()[1]  # type: ignore[attr-defined]
        with pytest.raises(HandshakeError, match="'h2'"):
            async with open_websocket(f"wss://localhost:{port}/", ssl_context=both):
                raise AssertionError("it should not have opened")
        nursery.cancel_scope.cancel()


async def _read_to_end(stream: trio.abc.Stream) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_rejection_carries_the_response() -> None:
    def refuse(request: object) -> Response:
        return Response(401, "Who are you?", {"WWW-Authenticate": 'Basic realm="x"'})

    async with open_websocket_server(echo, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket(url):
                raise AssertionError("it should not have opened")
        response = caught.value.response
        assert (response.status, response.body) == (401, b"Who are you?")
        assert response.headers["www-authenticate"] == 'Basic realm="x"'
        async with trio.open_nursery() as nursery:
            with pytest.raises(ConnectionRejected):  # at the call, not in the nursery
                await connect_websocket(nursery, url)


async def test_request_says_what_was_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    options: dict[str, Any] = {
        "subprotocols": ["a", "b"],
        "origin": "https://example.org",
        "extra_headers": {"X-Extra": "1", "User-Agent": "mine"},
    }
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs)
    heads: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            heads.append(await peer.open_as_server())
            await peer.send(close(mask=False))
            await peer.stream.aclose()

        nursery.start_soon(serve)
        async with wrap_client_stream(ours, "ws://user:pass%40@example.org:81/a?b", **options) as ws:
            assert ws.subprotocol is None
            assert (await ws.wait_closed()).ok
    lines = heads[0].decode().split("\r\n")
    assert lines[0] == "GET /a?b HTTP/1.1"
    for line in (
        "Host: example.org:81",
        "Sec-WebSocket-Protocol: a, b",
        "Origin: https://example.org",
        "X-Extra: 1",
        "User-Agent: mine",
        "Authorization: Basic " + base64.b64encode(b"user:pass@").decode(),
    ):
        assert line in lines
    assert len([line for line in lines if line.startswith("User-Agent")]) == 1


async def test_authorization_of_the_caller_wins_over_that_of_the_url(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            head = await peer.open_as_server()
            assert head.count(b"Authorization") == 1
            assert b"\r\nAuthorization: Bearer x\r\n" in head
            await peer.send(close(mask=False))
            await peer.stream.aclose()

        nursery.start_soon(serve)
        async with wrap_client_stream(
            ours, "ws://user:password@localhost/", extra_headers={"Authorization": "Bearer x"}
        ) as ws:
            await ws.wait_closed()


async def test_subprotocol_of_the_servers_choice() -> None:
    async with (
        open_websocket_server(echo, "127.0.0.1", 0, subprotocols=["b", "a"]) as server,
        open_websocket(f"ws://127.0.0.1:{server.port}/", subprotocols=["a", "b"]) as ws,
    ):
        assert ws.subprotocol == "b"


async def test_frames_right_behind_the_101_are_received(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_server() as (ws, peer):
        await peer.send(close(1001, b"already", mask=False))
        assert (await ws.wait_closed()).received_reason == "already"


async def test_stream_that_breaks_during_the_handshake_is_a_handshake_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for call in (1, 2):
        ours, _theirs = trio.testing.memory_stream_pair()
        with pytest.raises(RemoteHandshakeError):
            async with wrap_client_stream(FaultyStream(ours, fail_at_call=call), "ws://localhost/"):
                raise AssertionError("it should not have opened")


async def test_cancelled_nursery_closes_its_connections_with_1001() -> None:
    reasons: list[int | None] = []

    async def handler(ws: WebSocketConnection) -> None:
        reasons.append((await ws.wait_closed()).received_code)

    async with open_websocket_server(handler, "127.0.0.1", 0) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                await connect_websocket(nursery, f"ws://127.0.0.1:{server.port}/")
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await until(lambda: len(reasons) == 3)
    assert reasons == [1001] * 3


async def test_connection_in_a_nursery_is_closed_by_async_with_and_leaves_no_task() -> None:
    async with open_websocket_server(echo, "127.0.0.1", 0) as server, trio.open_nursery() as nursery:
        async with await connect_websocket(nursery, f"ws://127.0.0.1:{server.port}/") as ws:
            await ws.send("x")
            assert await ws.receive() == "x"
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


@pytest.mark.parametrize("end", ["kept-alive", "cut"])
async def test_rejection_is_one_whatever_becomes_of_its_body(end: str, autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs)
    # The calls of our end are: write the request, read the answer, read more of it.
    stream = FaultyStream(ours, fail_at_call=3) if end == "cut" else ours
    async with trio.open_nursery() as nursery:

        async def refuse() -> None:
            await peer.read_head()
            await peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\nbecause")

        nursery.start_soon(refuse)
        with pytest.raises(ConnectionRejected) as caught:
            async with wrap_client_stream(stream, "ws://localhost/", open_timeout=3):
                raise AssertionError("it should not have opened")
    assert (caught.value.response.status, caught.value.response.body) == (403, b"because")


async def test_ssl_context_for_a_url_without_tls_is_refused() -> None:
    with pytest.raises(ValueError, match="wss://"):
        async with open_websocket("ws://localhost/", ssl_context=trusting_context()):
            raise AssertionError("it should not have opened")


async def test_nursery_that_is_closed_is_an_error_and_leaves_no_connection() -> None:
    async with open_websocket_server(echo, "127.0.0.1", 0) as server:
        async with trio.open_nursery() as nursery:
            pass
        with pytest.raises(RuntimeError):
            await connect_websocket(nursery, f"ws://127.0.0.1:{server.port}/")
        with trio.fail_after(10):
            await until(lambda: server.statistics().accepted and not server.connections)
