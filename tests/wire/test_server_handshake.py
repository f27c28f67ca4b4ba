"""The server's side of the opening handshake: from a request, which may come from another framework, to the 101."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws import Deflate
from trio_ws._errors import ConnectionRejected, LocalHandshakeError
from trio_ws._values import Headers, HeadersLike, Request, Response
from trio_ws._wire.server_handshake import (
    accept_key,
    accept_response,
    check_subprotocol_names,
    check_upgrade,
    choose_extensions,
    encode_response,
    offered_subprotocols,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "example.org",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def refuse_upgrade(request: Request) -> Response:
    with pytest.raises(ConnectionRejected) as caught:
        check_upgrade(request)
    return caught.value.response


# The upgrade


def upgrade(changes: HeadersLike = (), *, without: str = "") -> Request:
    changed = Headers(changes).fields
    names = {without.lower(), *(name.lower() for name, _ in changed)}
    kept = [(name, value) for name, value in UPGRADE.items() if name.lower() not in names]
    return Request("GET", "/chat", [*kept, *changed])


def test_key_of_a_valid_upgrade_is_returned() -> None:
    assert check_upgrade(upgrade()) == KEY


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (attrs.evolve(upgrade({"Content-Length": "1"}), method="POST", http_version="1.0"), 405),
        (attrs.evolve(upgrade({"Content-Length": "1"}), http_version="1.0"), 505),
        (upgrade({"Content-Length": "1"}, without="Upgrade"), 400),
        (upgrade({"Sec-WebSocket-Key": "x"}, without="Upgrade"), 426),
        (upgrade({"Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "8"}), 426),
        (upgrade({"Sec-WebSocket-Key": "x"}, without="Sec-WebSocket-Version"), 400),
    ],
)
def test_refusals_come_in_their_order(request_: Request, status: int) -> None:
    assert refuse_upgrade(request_).status == status


@pytest.mark.parametrize("method", ["get", "Get", "", b"GET", None, 5])
def test_odd_method_is_refused(method: Any) -> None:
    assert refuse_upgrade(attrs.evolve(upgrade(), method=method)).status == 405


@pytest.mark.parametrize("version", ["2", "2.0", "3", "", "11", b"1.1", None, 1.1], ids=repr)
def test_odd_http_version_is_refused(version: Any) -> None:
    assert refuse_upgrade(attrs.evolve(upgrade(), http_version=version)).status == 505


@pytest.mark.parametrize("field", [(b"Upgrade", b"websocket"), (None, "x"), ("X", None), ("X", b"x"), (5, 6)], ids=repr)
def test_odd_types_in_the_header_are_400(field: tuple[str, str]) -> None:
    odd = Request("GET", "/", [*UPGRADE.items(), field])
    assert refuse_upgrade(odd).status == 400
    with pytest.raises(ConnectionRejected) as caught:
        offered_subprotocols(odd)
    assert caught.value.response.status == 400


@pytest.mark.parametrize("name", UPGRADE)
@pytest.mark.parametrize(
    "value", ["", "\ud800", "\u212a", "\uff11\uff13", "\r\nX: y", "\x00", "a b" * 50_000, ",", "/"]
)
def test_odd_strings_in_the_header_are_refused(name: str, value: str) -> None:
    assert refuse_upgrade(upgrade({name: value})).status in (400, 426)


def test_no_other_script_spells_websocket() -> None:
    assert refuse_upgrade(upgrade({"Upgrade": "websoc\u212aet"})).status == 400


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(UPGRADE)), st.text(max_size=30)), st.text(max_size=5), st.text(max_size=5)
)
def test_arbitrary_values_end_in_a_key_or_a_refusal(fields: dict[str, str], method: str, version: str) -> None:
    for request in (Request("GET", "/", UPGRADE | fields), Request(method, "/", UPGRADE, version)):
        try:
            assert check_upgrade(request) == KEY
        except ConnectionRejected as rejected:
            encode_response(rejected.response)


# Subprotocols


def test_no_subprotocols_are_offered() -> None:
    assert offered_subprotocols(upgrade()) == ()


def test_offered_subprotocols_keep_their_order_across_fields() -> None:
    offer = [("Sec-WebSocket-Protocol", "b, a"), ("sec-websocket-protocol", "c")]
    assert offered_subprotocols(upgrade(offer)) == ("b", "a", "c")


@pytest.mark.parametrize("value", ["", ",", "a b", "a, a", "\xe9", '"a"', "a;b"])
def test_malformed_or_repeated_offer_is_400(value: str) -> None:
    with pytest.raises(ConnectionRejected) as caught:
        offered_subprotocols(upgrade({"Sec-WebSocket-Protocol": value}))
    assert caught.value.response.status == 400


def test_subprotocols_differ_by_case() -> None:
    assert offered_subprotocols(upgrade({"Sec-WebSocket-Protocol": "a, A"})) == ("a", "A")
    assert check_subprotocol_names(["a", "A"]) == ("a", "A")


def test_subprotocol_names_become_a_tuple() -> None:
    assert check_subprotocol_names(iter(["chat", "v1.json"])) == ("chat", "v1.json")


@pytest.mark.parametrize("names", ["chat", [""], ["a b"], ["a,b"], ["a", "a"], ["\xe9"], [b"a"], [None], ["a\r\nB: c"]])
def test_bad_subprotocol_names_are_an_error(names: object) -> None:
    with pytest.raises(LocalHandshakeError, match="subprotocol"):
        check_subprotocol_names(cast("list[str]", names))


# The 101


def test_accepting_response_names_the_subprotocol_and_keeps_the_caller_fields() -> None:
    response = accept_response(KEY, subprotocol="chat", headers=[("Set-Cookie", "a"), ("Set-Cookie", "b")])
    assert response.status == 101
    assert response.headers.fields == (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(KEY)),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
    )


def test_101_is_just_its_head() -> None:
    response = attrs.evolve(accept_response(KEY, subprotocol=None, headers={"X": "y"}), body=b"body")
    assert encode_response(response, date="now") == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX: y\r\n\r\n"
    )


@pytest.mark.parametrize(
    "name",
    ["upgrade", "Connection", "Sec-WebSocket-Accept", "SEC-WEBSOCKET-X", "Content-Length", "Transfer-Encoding"],
)
def test_field_of_the_handshake_in_the_caller_headers_is_an_error(name: str) -> None:
    with pytest.raises(LocalHandshakeError, match=f"'{name}' is the handshake's own"):
        accept_response(KEY, subprotocol=None, headers={name: "x"})


@pytest.mark.parametrize("headers", [None, 5, "abc", ["ab", "abc"], [("a", "b", "c")], [5]])
def test_headers_of_a_wrong_shape_are_an_error(headers: object) -> None:
    with pytest.raises(LocalHandshakeError, match="a mapping, or pairs"):
        accept_response(KEY, subprotocol=None, headers=cast("HeadersLike", headers))


@pytest.mark.parametrize("subprotocol", ["", "a b", "a,b", "a\r\nX: y", "\xe9", 5])
def test_bad_subprotocol_is_not_accepted(subprotocol: object) -> None:
    with pytest.raises(LocalHandshakeError, match="subprotocol"):
        accept_response(KEY, subprotocol=cast("str", subprotocol), headers=())


def test_client_s_extensions_are_answered() -> None:
    asked = upgrade({"Sec-WebSocket-Extensions": "permessage-deflate"})
    assert choose_extensions(asked, Deflate()) == "permessage-deflate; server_max_window_bits=12"
    assert choose_extensions(asked, None) is None


def test_malformed_extensions_are_a_400() -> None:
    with pytest.raises(ConnectionRejected) as caught:
        choose_extensions(upgrade({"Sec-WebSocket-Extensions": "permessage-deflate;"}), None)
    assert caught.value.response.status == 400
    assert b"Sec-WebSocket-Extensions is malformed" in caught.value.response.body
