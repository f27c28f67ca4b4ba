"""The fast lane of 101s: what it makes is what the strict lane makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws._errors import LocalHandshakeError
from trio_ws._values import Headers, Response
from trio_ws._wire.server_handshake import accept_response, encode_response
from trio_ws._wire.usual_answer import usual_answer

TOKENS = st.text("abcXYZ-0", min_size=1)
#: With what may be taken for the field that is looked for.
FIELDS = st.lists(st.tuples(TOKENS, TOKENS | st.sampled_from(["", "\xe9", "Sec-WebSocket-Accept: x", "a b"])))
KEYS = ["dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", ""]


@given(st.none() | TOKENS, st.none() | TOKENS, FIELDS)
def test_both_lanes_make_the_same(
    subprotocol: str | None, extensions: str | None, fields: list[tuple[str, str]]
) -> None:
    def strictly(key: str) -> Response:
        return accept_response(key, subprotocol=subprotocol, extensions=extensions, headers=fields)

    answer = usual_answer(strictly("another key"))
    for key in KEYS:
        response, head = answer(key)
        assert response == strictly(key)
        assert dict(response.headers) == dict(strictly(key).headers)
        assert head == encode_response(strictly(key))


def test_what_may_not_be_sent_is_refused() -> None:
    with pytest.raises(LocalHandshakeError):
        usual_answer(Response(101, b"", Headers([("Sec-WebSocket-Accept", ""), ("X", "a\r\nb")])))
