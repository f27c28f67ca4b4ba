"""RFC 6455, the opening handshake as the client sees it (§3, §4.1). The ids are section numbers."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest

from trio_ws._client.url import parse_url
from trio_ws._errors import ConnectionRejected, InvalidURL, LocalHandshakeError, RemoteHandshakeError
from trio_ws._values import Response
from trio_ws._wire.client_handshake import ClientHandshake
from trio_ws._wire.server_handshake import accept_key

ACCEPT = object()
ACCEPTED: list[tuple[str, object]] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", ACCEPT),
]


def with_field(*fields: tuple[str, object]) -> list[tuple[str, object]]:
    """An answer that accepts, with the fields of the same names replaced by ``fields``."""
    names = {name for name, _ in fields}
    return [*(field for field in ACCEPTED if field[0] not in names), *fields]


def without(name: str) -> list[tuple[str, object]]:
    return [field for field in ACCEPTED if field[0] != name]


def open_url(url: str, subprotocols: Sequence[str] = (), origin: str | None = None) -> ClientHandshake:
    parsed = parse_url(url)
    return ClientHandshake(host=parsed.host_header, target=parsed.target, subprotocols=subprotocols, origin=origin)


def answer(client: ClientHandshake, fields: Sequence[tuple[str, object]], line: str = "HTTP/1.1 101 x") -> Response:
    accept = accept_key(client.request.headers["Sec-WebSocket-Key"])
    lines = [f"{name}: {accept if value is ACCEPT else value}" for name, value in fields]
    response = client.feed("\r\n".join([line, *lines, "", ""]).encode("latin-1"))
    assert response is not None
    return response


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        pytest.param("ws://example.com/chat", "GET /chat HTTP/1.1", "example.com", id="4.1-2-path"),
        pytest.param("ws://example.com", "GET / HTTP/1.1", "example.com", id="3-empty-path"),
        pytest.param("ws://example.com?a=b", "GET /?a=b HTTP/1.1", "example.com", id="3-query"),
        pytest.param("ws://example.com/%23", "GET /%23 HTTP/1.1", "example.com", id="3-escaped-number-sign"),
        pytest.param("ws://example.com:80/", "GET / HTTP/1.1", "example.com", id="4.1-4-default-port"),
        pytest.param("wss://example.com:443/", "GET / HTTP/1.1", "example.com", id="4.1-4-default-port-with-tls"),
        pytest.param("ws://example.com:81/", "GET / HTTP/1.1", "example.com:81", id="4.1-4-other-port"),
    ],
)
def test_request_names_resource_and_host(url: str, line: str, host: str) -> None:
    client = open_url(url)
    assert client.data.startswith(f"{line}\r\nHost: {host}\r\n".encode())
    assert client.request.headers.get_all("Host") == (host,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("Upgrade", "websocket", id="4.1-5-upgrade"),
        pytest.param("Connection", "Upgrade", id="4.1-6-connection"),
        pytest.param("Origin", "https://example.com", id="4.1-8-origin"),
        pytest.param("Sec-WebSocket-Version", "13", id="4.1-9-version"),
        pytest.param("Sec-WebSocket-Protocol", "chat, superchat", id="4.1-10-subprotocols"),
    ],
)
def test_request_has_the_field(name: str, value: str) -> None:
    client = open_url("ws://example.com/", ["chat", "superchat"], "https://example.com")
    assert client.request.headers.get_all(name) == (value,)
    assert client.data.count(f"\r\n{name}: {value}\r\n".encode()) == 1


@pytest.mark.parametrize("section", [pytest.param("4.1-7", id="4.1-7-nonce-of-16-bytes-is-new-each-time")])
def test_key_is_random(section: str) -> None:
    keys = [open_url("ws://example.com/").request.headers["Sec-WebSocket-Key"] for _ in range(100)]
    assert len(set(keys)) == 100
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://example.com/", id="3-other-scheme"),
        pytest.param("ws://example.com/#", id="3-empty-fragment"),
        pytest.param("ws://example.com/#a", id="3-fragment"),
        pytest.param("ws:///chat", id="3-no-host"),
        pytest.param("ws://example.com:x/", id="3-bad-port"),
    ],
)
def test_invalid_url_opens_nothing(url: str) -> None:
    with pytest.raises(InvalidURL):
        open_url(url)


@pytest.mark.parametrize(
    "subprotocols",
    [
        pytest.param(["a", "a"], id="4.1-10-unique"),
        pytest.param([""], id="4.1-10-not-empty"),
        pytest.param(["a b"], id="4.1-10-no-separators"),
        pytest.param(["a\x7f"], id="4.1-10-no-controls"),
    ],
)
def test_invalid_subprotocols_are_not_offered(subprotocols: list[str]) -> None:
    with pytest.raises(LocalHandshakeError):
        open_url("ws://example.com/", subprotocols)


@pytest.mark.parametrize(
    ("fields", "subprotocol"),
    [
        pytest.param(ACCEPTED, None, id="4.1-accepted"),
        pytest.param(with_field(("Upgrade", "WebSocket")), None, id="4.1-2-upgrade-in-any-case"),
        pytest.param(with_field(("Connection", "keep-alive, UPGRADE")), None, id="4.1-3-connection-is-a-list"),
        pytest.param(
            with_field(("Connection", "keep-alive"), ("Connection", "upgrade")),
            None,
            id="4.1-3-connection-over-two-fields",
        ),
        pytest.param([("X", "\t"), *reversed(ACCEPTED)], None, id="4.1-fields-in-any-order"),
        pytest.param([*ACCEPTED, ("Sec-WebSocket-Protocol", "chat")], "chat", id="4.1-6-subprotocol-that-was-offered"),
    ],
)
def test_valid_answer_opens_the_connection(fields: list[tuple[str, object]], subprotocol: str | None) -> None:
    response = answer(open_url("ws://example.com/", ["chat"]), fields)
    assert response.headers.get("Sec-WebSocket-Protocol") == subprotocol


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(without("Upgrade"), id="4.1-2-no-upgrade"),
        pytest.param(with_field(("Upgrade", "h2c")), id="4.1-2-other-upgrade"),
        pytest.param(without("Connection"), id="4.1-3-no-connection"),
        pytest.param(with_field(("Connection", "close")), id="4.1-3-other-connection"),
        pytest.param(without("Sec-WebSocket-Accept"), id="4.1-4-no-accept"),
        pytest.param(with_field(("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")), id="4.1-4-other-accept"),
        pytest.param([*ACCEPTED, ("Sec-WebSocket-Accept", ACCEPT)], id="11.3.3-two-accepts"),
        pytest.param([*ACCEPTED, ("Sec-WebSocket-Extensions", "x")], id="4.1-5-extension-not-offered"),
        pytest.param([*ACCEPTED, ("Sec-WebSocket-Protocol", "x")], id="4.1-6-subprotocol-not-offered"),
        pytest.param([*ACCEPTED, *[("Sec-WebSocket-Protocol", "chat")] * 2], id="11.3.4-two-subprotocols"),
        pytest.param([*ACCEPTED, ("Sec-WebSocket-Protocol", "chat, chat")], id="11.3.4-list-of-subprotocols"),
    ],
)
def test_invalid_answer_fails_the_connection(fields: list[tuple[str, object]]) -> None:
    with pytest.raises(RemoteHandshakeError):
        answer(open_url("ws://example.com/", ["chat"]), fields)


@pytest.mark.parametrize("status", [pytest.param(code, id=f"4.1-1-status-{code}") for code in (200, 301, 401, 503)])
def test_other_status_is_handled_by_http(status: int) -> None:
    with pytest.raises(ConnectionRejected) as caught:
        answer(open_url("ws://example.com/"), [*ACCEPTED, ("Content-Length", "0")], f"HTTP/1.1 {status} x")
    assert caught.value.response.status == status
