"""Every byte value in every header of the opening handshake: it opens or it is refused, and nobody falls over."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
import trio.testing

from tests.raw import KEY, MemoryListener, RawPeer
from trio_ws import ConnectionRejected, Deflate, RemoteHandshakeError, WebSocketConnection, open_websocket_server
from trio_ws._wire.client_handshake import ClientHandshake
from trio_ws._wire.upgrade import accept_key

BYTES = [bytes([value]) for value in range(256)]

#: RFC 9110 §5.5: of the control characters only HTAB may stand in a field value.
CONTROLS = frozenset(byte for byte in BYTES if (byte < b" " or byte == b"\x7f") and byte != b"\t")

#: A request or status line, or a field: what stands in front of the separator, the separator, and the rest.
Line = tuple[bytes, bytes, bytes]

REQUEST: list[Line] = [
    (b"GET", b" ", b"/chat HTTP/1.1"),
    (b"Host", b": ", b"localhost"),
    (b"Upgrade", b": ", b"websocket"),
    (b"Connection", b": ", b"Upgrade"),
    (b"Sec-WebSocket-Key", b": ", KEY.encode()),
    (b"Sec-WebSocket-Version", b": ", b"13"),
    (b"Sec-WebSocket-Protocol", b": ", b"chat.v1"),
    (b"Sec-WebSocket-Extensions", b": ", b'permessage-deflate; client_max_window_bits="10"'),
    (b"Origin", b": ", b"http://localhost"),
    (b"Content-Length", b": ", b"0"),
    (b"Cookie", b": ", b"flavour=vanilla"),
    (b"Authorization", b": ", b"Basic Og=="),
]
#: What RFC 6455 §4.2.1 asks for: whatever stands in the middle of it, it is not that any longer.
REQUIRED = frozenset([b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"])
#: Headers whose content is the application's. RFC 9110 §5.5 allows bytes from 0x80 on, too.
OPAQUE = frozenset([b"Cookie", b"Authorization"])


def answer(key: str) -> list[Line]:
    return [
        (b"HTTP/1.1", b" ", b"101 Switching Protocols"),
        (b"Upgrade", b": ", b"websocket"),
        (b"Connection", b": ", b"Upgrade"),
        (b"Sec-WebSocket-Accept", b": ", accept_key(key).encode()),
        (b"Sec-WebSocket-Protocol", b": ", b"chat.v1"),
        (b"Sec-WebSocket-Extensions", b": ", b"permessage-deflate; server_max_window_bits=12"),
        (b"Server", b": ", b"unknown"),
    ]


#: Where the byte goes.
PLACES: dict[str, Callable[[Line, bytes], bytes]] = {
    "in the name": lambda line, byte: _amid(line[0], byte) + line[1] + line[2],
    "before the value": lambda line, byte: line[0] + line[1] + byte + line[2],
    "in the value": lambda line, byte: line[0] + line[1] + _amid(line[2], byte),
    "behind the value": lambda line, byte: line[0] + line[1] + line[2] + byte,
}


def _amid(text: bytes, byte: bytes) -> bytes:
    return text[: len(text) // 2] + byte + text[len(text) // 2 :]


def head(lines: list[Line], changed: int, place: str, byte: bytes) -> bytes:
    written = [b"".join(line) for line in lines]
    written[changed] = PLACES[place](lines[changed], byte)
    return b"\r\n".join([*written, b"", b""])


def may_be_answered(line: Line, place: str, byte: bytes) -> Callable[[int], bool]:
    """Which status codes are right for a request with this byte there."""
    if byte in CONTROLS:
        return lambda status: status == 400
    if line[0] in REQUIRED and place.startswith("in "):
        return lambda status: 400 <= status < 500
    if line[0] in OPAQUE and "value" in place:
        return lambda status: status == 101
    return lambda status: status == 101 or 400 <= status < 500


@pytest.mark.parametrize("number", range(len(REQUEST)), ids=[line[0].decode() for line in REQUEST])
async def test_every_byte_in_a_request_is_taken_or_refused_with_4xx(
    number: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def echo(ws: WebSocketConnection) -> None:
        async for message in ws:
            await ws.send(message)

    listener = MemoryListener()

    async def status(data: bytes) -> int:
        peer = RawPeer(listener.connect())
        await peer.send(data)
        head = await peer.read_head()
        await trio.aclose_forcefully(peer.stream)
        return int(head.split()[1])

    wrong: list[tuple[str, bytes, int]] = []
    async with open_websocket_server(echo, listeners=[listener], subprotocols=["chat.v1"]) as server:
        for place in PLACES:
            for byte in BYTES:
                answered = await status(head(REQUEST, number, place, byte))
                if not may_be_answered(REQUEST[number], place, byte)(answered):
                    wrong.append((place, byte, answered))
        assert wrong == []
        assert await status(b"\r\n".join([*(b"".join(line) for line in REQUEST), b"", b""])) == 101
        assert server.statistics().accepted + server.statistics().refused == len(PLACES) * len(BYTES) + 1
    assert [record for record in caplog.records if record.levelno > logging.INFO or record.exc_info] == []


@pytest.mark.parametrize("number", range(len(answer(KEY))), ids=[line[0].decode() for line in answer(KEY)])
def test_every_byte_in_an_answer_is_taken_or_fails_the_handshake(number: int) -> None:
    opened = 0
    for place in PLACES:
        for byte in BYTES:
            handshake = ClientHandshake(host="localhost", target="/", subprotocols=["chat.v1"], compression=Deflate())
            lines = answer(handshake.request.headers["Sec-WebSocket-Key"])
            try:
                response = handshake.feed(head(lines, number, place, byte))
            except (RemoteHandshakeError, ConnectionRejected):
                continue
            assert response is not None
            assert byte not in CONTROLS
            opened += 1
    assert opened > 0
