"""A client reads the answer to its request. Input: a byte of cuts, one of its offers, what the server sends."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from unittest import mock

from tests.fuzz.budget import Budget
from tests.fuzz.source import Source, pieces
from tests.raw import ACCEPT, KEY
from trio_ws._errors import ConnectionRejected, RemoteHandshakeError
from trio_ws._options import Deflate
from trio_ws._values import Response
from trio_ws._wire.client_handshake import MAX_BODY, ClientHandshake
from trio_ws._wire.deflate import deflate_agreed_in

#: Measured as for a request, and half as much again. The most steps, 47, costs a byte of a body that is a read of its
#: own: h11 then looks for its end. The most memory, 273 bytes, costs a character of the reason phrase: h11's regular
#: expression for it remembers each. A line has at most 8192.
BUDGET = Budget(steps=600, steps_per_byte=75, memory=48 * 1024, memory_per_byte=400)

SUBPROTOCOLS: list[tuple[str, ...]] = [(), ("chat",), ("chat", "superchat")]
COMPRESSION = [None, Deflate(), Deflate(server_max_window_bits=10, server_no_context_takeover=True)]

#: The 101 and what came behind it; another answer, or why it was not understood; or nothing yet.
Outcome = tuple[Response, bytes] | Response | str | None


def fuzz_one(data: bytes) -> None:
    source = Source(data)
    shape, options = source.byte(), source.byte()
    subprotocols, compression = SUBPROTOCOLS[options % 3], COMPRESSION[options // 3 % 3]
    end = [b""] if options & 0x80 else []
    sent = source.rest()
    client, another = new_client(subprotocols, compression), new_client(subprotocols, compression)
    with BUDGET.spend(len(sent)):
        whole = read(client, [*pieces(sent, 0), *end])
    with BUDGET.spend(len(sent)):
        cut = read(another, [*pieces(sent, shape), *end])
    assert cut == whole, f"whole: {whole}, cut: {cut}"
    if isinstance(whole, tuple):
        response, rest = whole
        assert sent.endswith(rest)
        check_opened(response, subprotocols, compression)
    elif isinstance(whole, Response):
        assert whole.status >= 200
        assert len(whole.body) <= min(MAX_BODY, len(sent))
        assert whole.describe().isprintable()
    elif whole is not None:
        # What the server sent may stand in it, but only in quotes.
        assert whole.isascii()
        assert whole.isprintable()


def new_client(subprotocols: tuple[str, ...], compression: Deflate | None) -> ClientHandshake:
    """A client whose key is not random but the RFC's example, so that an input can hold the answer to it."""
    with mock.patch.object(os, "urandom", return_value=base64.b64decode(KEY)):
        return ClientHandshake(host="example.org", target="/chat", subprotocols=subprotocols, compression=compression)


def read(client: ClientHandshake, data: Iterable[bytes]) -> Outcome:
    response, rest = None, b""
    for piece in data:
        if response is not None:
            rest += piece
            continue
        try:
            response = client.feed(piece)
        except ConnectionRejected as exc:
            return exc.response
        except RemoteHandshakeError as exc:
            return str(exc)
        rest = client.rest
    return None if response is None else (response, rest)


def check_opened(response: Response, subprotocols: tuple[str, ...], compression: Deflate | None) -> None:
    assert response.status == 101
    assert [value.strip(" \t") for value in response.headers.get_all("Sec-WebSocket-Accept")] == [ACCEPT]
    chosen = response.headers.get_all("Sec-WebSocket-Protocol")
    assert len(chosen) <= 1
    assert set(chosen) <= set(subprotocols)
    agreed = deflate_agreed_in(response.headers.get_all("Sec-WebSocket-Extensions"), "client", compression, 100)
    assert agreed is None or compression is not None
