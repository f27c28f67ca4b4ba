"""What happens between trio_ws and other implementations, on real sockets.

Each test is one thing that may happen on a connection, and runs once for each peer that can take part in it.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterable

import pytest
import trio

import trio_ws
from trio_ws import Deflate

from .peers.control import SUBPROTOCOL
from .remote import CLIENTS, SERVERS, Peer, Remote, open_host, open_pair

TEXT = "Straße, 日本語, 🎉, \N{COMBINING ACUTE ACCENT}, \0"
BINARY = bytes(range(256))
FRAGMENTS = [
    pytest.param(["one ", TEXT, "", " four"], id="text"),
    pytest.param([b"one", BINARY, b"", b"four"], id="binary"),
]


def against(peers: Iterable[Peer], able: Callable[[Peer], bool] = lambda peer: True) -> pytest.MarkDecorator:
    """Run a test with each of these peers."""
    chosen = [pytest.param(peer, id=str(peer)) for peer in peers if able(peer)]
    return pytest.mark.parametrize("remote", chosen, indirect=True)


BOTH = [*CLIENTS, *SERVERS]


# Messages


@against(BOTH)
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(TEXT, id="text"),
        pytest.param(BINARY, id="binary"),
        pytest.param("", id="empty text"),
        pytest.param(b"", id="empty binary"),
        pytest.param("é" * 2**19, id="1 MiB of text"),
        pytest.param(BINARY * 2**12, id="1 MiB of binary"),
    ],
)
async def test_a_message_goes_there_and_back(remote: Remote, message: str | bytes) -> None:
    async with open_pair(remote) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(pair.ws.send, message)
        assert await remote.call("receive") == {"message": message}
        await remote.call("send", message=message)
        assert await pair.ws.receive() == message


@against(BOTH)
@pytest.mark.parametrize("fragments", FRAGMENTS)
async def test_our_fragments_are_one_message_to_the_peer(remote: Remote, fragments: list[str] | list[bytes]) -> None:
    async with open_pair(remote) as pair:
        await pair.ws.send_fragments(fragments)
        assert await remote.call("receive") == {"message": fragments[0][:0].join(fragments)}


@against(BOTH, able=lambda peer: peer.fragments)
@pytest.mark.parametrize("fragments", FRAGMENTS)
async def test_the_peers_fragments_are_one_message_to_us(remote: Remote, fragments: list[str] | list[bytes]) -> None:
    message = fragments[0][:0].join(fragments)
    async with open_pair(remote) as pair:
        await remote.call("send_fragments", messages=fragments)
        assert await pair.ws.receive() == message
        await remote.call("send_fragments", messages=fragments)
        async with pair.ws.receive_fragments() as pieces:
            assert message[:0].join([piece async for piece in pieces]) == message


@against(BOTH)
async def test_messages_in_flight_both_ways_arrive_in_order(remote: Remote) -> None:
    ours = [f"{number} from us".ljust(1000) for number in range(100)]
    theirs = [f"{number} from them".ljust(1000).encode() for number in range(100)]

    async def send_all(ws: trio_ws.WebSocketConnection) -> None:
        for message in ours:
            await ws.send(message)

    async with open_pair(remote) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(send_all, pair.ws)
        for message in theirs:
            await remote.call("send", message=message)
        assert [await pair.ws.receive() for _ in theirs] == theirs
        assert [(await remote.call("receive"))["message"] for _ in ours] == ours


@against(BOTH, able=lambda peer: peer.deflate)
@pytest.mark.parametrize(
    "compression",
    [
        pytest.param(Deflate(), id="as it comes"),
        pytest.param(Deflate(server_max_window_bits=9, client_max_window_bits=9), id="smallest windows"),
        pytest.param(Deflate(server_max_window_bits=15, client_max_window_bits=15), id="largest windows"),
        pytest.param(
            Deflate(server_no_context_takeover=True, client_no_context_takeover=True), id="no context takeover"
        ),
    ],
)
async def test_messages_are_compressed_both_ways(remote: Remote, compression: Deflate) -> None:
    noise = random.Random(1).randbytes(20_000)
    async with open_pair(remote, compression=compression) as pair:
        assert pair.ws.response.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        messages: list[str | bytes] = ["x", "", b"", noise, TEXT * 2000, noise, noise * 10, BINARY * 500, TEXT]
        for message in messages:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.ws.send, message)
                assert await remote.call("receive") == {"message": message}
            await remote.call("send", message=message)
            assert await pair.ws.receive() == message
        before = pair.ws.statistics()
        await pair.ws.send("a" * 100_000)
        assert await remote.call("receive") == {"message": "a" * 100_000}
        await remote.call("send", message=b"b" * 100_000)
        assert await pair.ws.receive() == b"b" * 100_000
        after = pair.ws.statistics()
        assert after.bytes_sent - before.bytes_sent < 2000
        assert after.bytes_received - before.bytes_received < 2000


@against(BOTH, able=lambda peer: not peer.deflate)
async def test_peer_that_does_not_compress_gets_plain_messages(remote: Remote) -> None:
    async with open_pair(remote) as pair:
        assert "Sec-WebSocket-Extensions" not in pair.ws.response.headers
        await pair.ws.send("a" * 100_000)
        assert await remote.call("receive") == {"message": "a" * 100_000}
        assert pair.ws.statistics().bytes_sent > 100_000


# Pings


@against(BOTH)
async def test_the_peer_answers_our_ping(remote: Remote) -> None:
    async with open_pair(remote) as pair:
        assert await pair.ws.ping() > 0
        assert pair.ws.latency is not None


@against(BOTH, able=lambda peer: peer.pings)
async def test_we_answer_the_peers_ping(remote: Remote) -> None:
    async with open_pair(remote):
        await remote.call("ping")


# Closing


@against(BOTH)
async def test_the_peer_closes_first(remote: Remote) -> None:
    async with open_pair(remote) as pair:
        answer = await remote.call("close", code=4000, reason="that is all, señor")
        with pytest.raises(trio_ws.ConnectionClosedError) as raised:
            await pair.ws.receive()
        assert raised.value.reason == trio_ws.CloseReason(
            sent_code=4000, received_code=4000, received_reason="that is all, señor", closed_by="remote"
        )
        if remote.peer.close_codes:
            assert answer["code"] == 4000


@against(BOTH)
async def test_we_close_first(remote: Remote) -> None:
    async with open_pair(remote) as pair:
        await pair.ws.aclose(4001, "that is all, señor")
        assert pair.ws.close_reason is not None
        assert pair.ws.close_reason.closed_by == "local"
        assert pair.ws.close_reason.received_code == (4001 if remote.peer.echoes_codes else 1000)
        answer = await remote.call("receive")
        if remote.peer.close_codes:
            assert answer == {"code": 4001, "reason": "that is all, señor"}


@against(BOTH)
async def test_messages_in_front_of_the_peers_close_are_not_lost(remote: Remote) -> None:
    async with open_pair(remote) as pair:
        for number in range(10):
            await remote.call("send", message=f"{number}")
        await remote.call("close", code=1000, reason="")
        assert [message async for message in pair.ws] == [f"{number}" for number in range(10)]


@against(BOTH)
async def test_leaving_with_messages_unread_is_a_normal_closure(remote: Remote) -> None:
    async with open_pair(remote) as pair:
        for _ in range(100):
            await remote.call("send", message=BINARY)
    assert pair.ws.close_reason is not None
    assert pair.ws.close_reason.received_code == 1000 or not remote.peer.close_codes
    answer = await remote.call("receive")
    assert answer["code"] == 1000 or not remote.peer.close_codes


@against(CLIENTS)
async def test_a_failing_handler_is_1011_to_the_client(remote: Remote, caplog: pytest.LogCaptureFixture) -> None:
    async with open_host(remote) as host:
        await host.connect(remote)
        host.end_handlers(RuntimeError("the handler fails"))
        assert (await remote.call("receive"))["code"] == 1011
    assert "the handler fails" in caplog.text


@against(SERVERS, able=lambda peer: peer.close_codes)
async def test_a_failing_client_is_1011_to_the_server(remote: Remote) -> None:
    with pytest.raises(RuntimeError, match="the client fails"):
        async with open_pair(remote):
            raise RuntimeError("the client fails")
    remote.spoilt = False
    assert (await remote.call("receive"))["code"] == 1011


@against(CLIENTS)
async def test_shutting_down_is_1001_to_the_client(remote: Remote) -> None:
    async with open_host(remote) as host:
        pair = await host.connect(remote)
        host.server.shutdown(reason="good night")
        assert await remote.call("receive") == {"code": 1001, "reason": "good night"}
        reason = await pair.ws.wait_closed()
        assert reason.ok


# Opening


@against(BOTH)
async def test_the_subprotocol_is_negotiated(remote: Remote) -> None:
    async with open_pair(remote, subprotocols=["other", SUBPROTOCOL]) as pair:
        assert pair.ws.subprotocol == SUBPROTOCOL
        assert pair.opened == {"subprotocol": SUBPROTOCOL}


@against(CLIENTS)
@pytest.mark.parametrize("status", [403, 404, 503])
async def test_the_client_hears_of_its_rejection(remote: Remote, status: int) -> None:
    async with open_host(remote) as host:
        answer = await remote.call("connect", url=f"{host.url}/status/{status}", subprotocols=[])
        assert answer == {"status": status}


@against(SERVERS)
@pytest.mark.parametrize("status", [403, 404, 503])
async def test_we_hear_of_our_rejection(remote: Remote, status: int) -> None:
    url = f"{await remote.url()}/status/{status}"
    with pytest.raises(trio_ws.ConnectionRejected) as raised:
        async with trio_ws.open_websocket(url):
            pass
    assert raised.value.response.status == status
    assert raised.value.response.body == b"no\n"


@against(BOTH)
async def test_everything_goes_through_tls(remote: Remote) -> None:
    async with open_pair(remote, tls=True) as pair, trio.open_nursery() as nursery:
        message = BINARY * 2**12
        nursery.start_soon(pair.ws.send, message)
        assert await remote.call("receive") == {"message": message}
        await remote.call("send", message=message)
        assert await pair.ws.receive() == message
        await pair.ws.aclose(4001, "good bye")
        answer = await remote.call("receive")
        if remote.peer.close_codes:
            assert answer == {"code": 4001, "reason": "good bye"}


@against(BOTH)
async def test_the_peer_closes_tls_first(remote: Remote) -> None:
    async with open_pair(remote, tls=True) as pair:
        await remote.call("close", code=1000, reason="good bye")
        reason = await pair.ws.wait_closed()
        assert (reason.received_code, reason.received_reason) == (1000, "good bye")


@against(SERVERS)
async def test_a_certificate_of_an_unknown_authority_is_refused(remote: Remote) -> None:
    url = await remote.url(tls=True)
    with pytest.raises(trio_ws.HandshakeError) as raised:
        async with trio_ws.open_websocket(url):
            pass
    assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)
