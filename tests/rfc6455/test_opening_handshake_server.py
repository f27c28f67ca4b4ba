"""RFC 6455, the opening handshake as the server sees it (§1.3, §4.2, §4.4). The ids are section numbers."""

from __future__ import annotations

import base64

import pytest

from trio_ws._errors import ConnectionRejected
from trio_ws._values import Response
from trio_ws._wire.origin import check_origin
from trio_ws._wire.server_handshake import (
    RequestReader,
    accept_key,
    accept_response,
    check_upgrade,
    encode_response,
    offered_subprotocols,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# RFC 6455 §1.2, without the extension.
LINES = [
    "GET /chat HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Origin: http://example.com",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Version: 13",
]


def with_line(*lines: str) -> list[str]:
    """The RFC's example with the fields of the same names replaced by ``lines``."""
    names = tuple(line.partition(":")[0].lower() + ":" for line in lines)
    return [*(line for line in LINES if not line.lower().startswith(names)), *lines]


def without(name: str) -> list[str]:
    return [line for line in LINES if not line.startswith(f"{name}:")]


def answer(lines: list[str]) -> Response:
    """What a server answers that has no rules of its own."""
    try:
        request = RequestReader().feed("\r\n".join([*lines, "", ""]).encode("latin-1"))
        assert request is not None
        key = check_upgrade(request)
        offered = offered_subprotocols(request)
        return accept_response(key, subprotocol=offered[0] if offered else None, headers=())
    except ConnectionRejected as rejected:
        return rejected.response


def key_of(size: int) -> str:
    return base64.b64encode(b"\xff" * size).decode()


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(LINES, id="1.2-example"),
        pytest.param(with_line("Host: server.example.com:8080"), id="4.2.1-2-host-with-port"),
        pytest.param(with_line("Upgrade: WebSocket"), id="4.2.1-3-upgrade-in-any-case"),
        pytest.param(with_line("Upgrade: h2c, websocket"), id="4.2.1-3-upgrade-is-a-list"),
        pytest.param(with_line("Upgrade: HTTP/2.0", "upgrade: websocket"), id="4.2.1-3-upgrade-over-two-fields"),
        pytest.param(with_line("Connection: keep-alive, upgrade"), id="4.2.1-4-connection-is-a-list"),
        pytest.param(with_line("Connection: UPGRADE"), id="4.2.1-4-connection-in-any-case"),
        pytest.param(with_line("Connection: keep-alive", "Connection: Upgrade"), id="4.2.1-4-connection-in-two-fields"),
        pytest.param(with_line(f"Sec-WebSocket-Key:  \t{KEY}  "), id="4.2.1-5-whitespace-around-the-key"),
        pytest.param(with_line(f"sec-websocket-key: {key_of(16)}"), id="4.2.1-5-any-16-bytes"),
        pytest.param(without("Origin"), id="4.2.1-7-no-origin"),
        pytest.param(without("Sec-WebSocket-Protocol"), id="4.2.1-8-no-subprotocols"),
        pytest.param([*LINES, "Sec-WebSocket-Extensions: x; y=z"], id="4.2.1-9-extensions"),
        pytest.param([*LINES, "Cookie: a=\xe9", "X-Y: z"], id="4.2.1-10-other-fields"),
        pytest.param([*LINES, "Content-Length: 0"], id="4.2.1-empty-body"),
    ],
)
def test_valid_handshake_is_accepted(lines: list[str]) -> None:
    assert answer(lines).status == 101


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param(["POST /chat HTTP/1.1", *LINES[1:]], 405, id="4.2.1-1-not-get"),
        pytest.param(["HEAD /chat HTTP/1.1", *LINES[1:]], 405, id="4.2.1-1-head"),
        pytest.param(["get /chat HTTP/1.1", *LINES[1:]], 405, id="4.2.1-1-methods-have-case"),
        pytest.param(["GET /chat HTTP/1.0", *LINES[1:]], 505, id="4.2.1-1-http-1.0"),
        pytest.param(["GET /chat HTTP/2.0", *LINES[1:]], 505, id="4.2.1-1-http-2.0"),
        pytest.param(["GET chat HTTP/1.1", *LINES[1:]], 400, id="4.2.1-1-resource-name"),
        pytest.param(["GET /chat#x HTTP/1.1", *LINES[1:]], 400, id="3-no-fragment"),
        pytest.param(without("Host"), 400, id="4.2.1-2-no-host"),
        pytest.param(with_line("Host: a", "Host: a"), 400, id="4.2.1-2-two-hosts"),
        pytest.param(with_line("Host: a b"), 400, id="4.2.1-2-bad-host"),
        pytest.param(without("Upgrade"), 426, id="4.2.1-3-no-upgrade"),
        pytest.param(with_line("Upgrade: h2c"), 426, id="4.2.1-3-other-upgrade"),
        pytest.param(with_line("Upgrade: websockets"), 426, id="4.2.1-3-part-of-a-word"),
        pytest.param(with_line("Upgrade: websocket/13"), 426, id="4.2.1-3-protocol-with-version"),
        pytest.param(with_line("Upgrade: web socket"), 400, id="4.2.1-3-malformed"),
        pytest.param(without("Connection"), 426, id="4.2.1-4-no-connection"),
        pytest.param(with_line("Connection: close"), 426, id="4.2.1-4-other-connection"),
        pytest.param(with_line("Connection: upgraded"), 426, id="4.2.1-4-part-of-a-word"),
        pytest.param(with_line("Connection: Up grade"), 400, id="4.2.1-4-malformed"),
        pytest.param(without("Sec-WebSocket-Key"), 400, id="4.2.1-5-no-key"),
        pytest.param([*LINES, f"Sec-WebSocket-Key: {KEY}"], 400, id="4.2.1-5-two-keys"),
        pytest.param(with_line("Sec-WebSocket-Key:"), 400, id="4.2.1-5-empty-key"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {key_of(15)}"), 400, id="4.2.1-5-key-of-15-bytes"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {key_of(17)}"), 400, id="4.2.1-5-key-of-17-bytes"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {KEY[:-2]}"), 400, id="4.2.1-5-key-without-padding"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {KEY[:-3]}R=="), 400, id="4.2.1-5-key-not-canonical"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {KEY[:9]} {KEY[10:]}"), 400, id="4.2.1-5-space-in-key"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {KEY[:9]}-{KEY[10:]}"), 400, id="4.2.1-5-other-alphabet"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {KEY[:9]}\xe9{KEY[10:]}"), 400, id="4.2.1-5-not-ascii"),
        pytest.param(with_line(f"Sec-WebSocket-Key: {KEY}, {KEY}"), 400, id="4.2.1-5-list-of-keys"),
        pytest.param(without("Sec-WebSocket-Version"), 400, id="4.2.1-6-no-version"),
        pytest.param(with_line("Sec-WebSocket-Version:"), 400, id="4.2.1-6-empty-version"),
        pytest.param([*LINES, "Sec-WebSocket-Version: 13"], 400, id="4.2.1-6-two-versions"),
        pytest.param(with_line("Sec-WebSocket-Version: 13, 8"), 400, id="4.2.1-6-list-of-versions"),
        pytest.param(with_line("Sec-WebSocket-Version: 8"), 426, id="4.4-older-version"),
        pytest.param(with_line("Sec-WebSocket-Version: 14"), 426, id="4.4-later-version"),
        pytest.param(with_line("Sec-WebSocket-Version: 013"), 426, id="4.4-leading-zero"),
        pytest.param(with_line("Sec-WebSocket-Version: x"), 426, id="4.4-no-number"),
        pytest.param(with_line("Sec-WebSocket-Protocol: a b"), 400, id="4.2.1-8-malformed-subprotocol"),
        pytest.param(with_line("Sec-WebSocket-Protocol: a, a"), 400, id="4.2.1-8-repeated-subprotocol"),
        pytest.param([*LINES, "Content-Length: 9"], 400, id="4.2.1-body"),
        pytest.param([*LINES, "Transfer-Encoding: chunked"], 400, id="4.2.1-chunked-body"),
    ],
)
def test_invalid_handshake_is_refused(lines: list[str], status: int) -> None:
    response = answer(lines)
    assert response.status == status
    assert response.body
    encode_response(response)


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        pytest.param(["PUT /chat HTTP/1.1", *LINES[1:]], {"Allow": "GET"}, id="4.2.1-1-allow"),
        *(
            pytest.param(lines, {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}, id=id)
            for lines, id in [
                (without("Upgrade"), "4.2.2-no-upgrade"),
                (without("Connection"), "4.2.2-no-connection"),
                (with_line("Sec-WebSocket-Version: 8"), "4.4-versions-understood"),
            ]
        ),
    ],
)
def test_refusal_says_what_would_do(lines: list[str], fields: dict[str, str]) -> None:
    response = answer(lines)
    assert dict(response.headers.fields) == fields
    if response.status == 426:
        assert b"\r\nConnection: Upgrade, close\r\n" in encode_response(response)


@pytest.mark.parametrize(
    ("key", "accept"),
    [
        pytest.param(KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", id="1.3-example"),
        pytest.param("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk=", id="4.2.2-5.4-another"),
    ],
)
def test_accept_answers_the_key(key: str, accept: str) -> None:
    assert accept_key(key) == accept


@pytest.mark.parametrize("section", [pytest.param("1.3", id="1.3-response-of-the-server")])
def test_response_is_the_one_of_the_example(section: str) -> None:
    assert encode_response(answer(LINES)) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        pytest.param(LINES, False, id="4.2.2-4-foreign-origin"),
        pytest.param(with_line("Origin: http://server.example.com"), True, id="4.2.2-4-own-origin"),
        pytest.param(without("Origin"), True, id="10.2-no-origin"),
        pytest.param(with_line("Origin: null"), False, id="10.2-null"),
    ],
)
def test_foreign_origin_is_forbidden(lines: list[str], allowed: bool) -> None:
    request = RequestReader().feed("\r\n".join([*lines, "", ""]).encode())
    assert request is not None
    if allowed:
        check_origin(request, "same-host")
    else:
        with pytest.raises(ConnectionRejected) as caught:
            check_origin(request, "same-host")
        assert caught.value.response.status == 403
