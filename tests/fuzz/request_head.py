"""A server reads a request and answers it. Input: one byte of cuts, one of options, what the client sends."""

from __future__ import annotations

from collections.abc import Iterable

import h11

from tests.fuzz.budget import Budget
from tests.fuzz.source import Source, pieces
from trio_ws._errors import ConnectionRejected
from trio_ws._options import Deflate, Origins
from trio_ws._values import Request, Response
from trio_ws._wire.origin import check_origin, validate_origins
from trio_ws._wire.server_handshake import (
    RequestReader,
    accept_key,
    accept_response,
    check_upgrade,
    choose_extensions,
    encode_response,
    offered_subprotocols,
)

#: Measured, and doubled. Steps: 12 where every byte is a read of its own, and another 8 for fields as short as they can
#: be ("a:", four bytes). Memory: such a field is held some five times, as bytes, as a line and in the lists of h11 and
#: of ours, which are 48 bytes of heap a byte.
BUDGET = Budget(steps=600, steps_per_byte=40, memory=48 * 1024, memory_per_byte=100)

REFUSALS = {400, 403, 405, 414, 426, 431, 505}
ORIGINS: list[Origins] = [validate_origins(origins) for origins in ("same-host", "any", ["https://example.org", None])]

#: Of what was sent: a request and what came behind it, a refusal, or nothing yet.
Outcome = tuple[Request, bytes] | Response | None


def fuzz_one(data: bytes) -> None:
    source = Source(data)
    shape, origins = source.byte(), source.choose(ORIGINS)
    sent = source.rest()
    with BUDGET.spend(len(sent)):
        whole = read([sent])
    with BUDGET.spend(len(sent)):
        cut = read(pieces(sent, shape))
    assert cut == whole, f"whole: {whole}, cut: {cut}"
    if isinstance(whole, Response):
        check_refusal(whole)
    elif whole is not None:
        request, rest = whole
        assert sent.endswith(rest)
        check_request(request)
        with BUDGET.spend(len(sent)):
            answer = answer_to(request, origins)
        if answer.status == 101:
            check_acceptance(request, answer)
        else:
            check_refusal(answer)


def read(data: Iterable[bytes]) -> Outcome:
    reader = RequestReader()
    request, rest = None, b""
    for piece in data:
        if request is not None:
            rest += piece
            continue
        try:
            request = reader.feed(piece)
        except ConnectionRejected as exc:
            return exc.response
        rest = reader.rest
    return None if request is None else (request, rest)


def check_request(request: Request) -> None:
    """What the rest of the program takes for granted."""
    assert request.target.isascii()
    assert request.target.isprintable()
    assert (
        request.target.startswith("/")
        or (request.method, request.target) == ("OPTIONS", "*")
        or request.method == "CONNECT"
    )
    assert request.http_version in ("1.0", "1.1")
    for name, value in request.headers.fields:
        assert not set(name + value) & set("\0\r\n")


def answer_to(request: Request, origins: Origins) -> Response:
    try:
        key = check_upgrade(request)
        check_origin(request, origins)
        subprotocol = next(iter(offered_subprotocols(request)), None)
        extensions = choose_extensions(request, Deflate())
    except ConnectionRejected as exc:
        return exc.response
    return accept_response(key, subprotocol=subprotocol, extensions=extensions, headers={"X": "y"})


def parse(response: Response) -> tuple[h11.InformationalResponse | h11.Response, bytes]:
    """The response as another implementation of HTTP understands it, and its body."""
    client = h11.Connection(h11.CLIENT)
    upgrade = [("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    client.send(h11.Request(method="GET", target="/", headers=upgrade))
    client.send(h11.EndOfMessage())
    client.receive_data(encode_response(response))
    head = client.next_event()
    assert isinstance(head, (h11.InformationalResponse, h11.Response))
    assert head.status_code == response.status
    body = b""
    while response.status != 101 and isinstance(event := client.next_event(), h11.Data):
        body += event.data
    return head, body


def check_refusal(response: Response) -> None:
    assert response.status in REFUSALS
    head, body = parse(response)
    assert (b"connection", b"close") in {(name, value.split()[-1]) for name, value in head.headers if value}
    # What the client sent may stand in it, but only in quotes.
    assert body == response.body
    assert body.decode("ascii").removesuffix("\n").isprintable()


def check_acceptance(request: Request, response: Response) -> None:
    head, body = parse(response)
    assert body == b""
    fields = dict(head.headers)
    assert fields[b"sec-websocket-accept"].decode() == accept_key(request.headers["Sec-WebSocket-Key"].strip())
    if b"sec-websocket-protocol" in fields:
        assert fields[b"sec-websocket-protocol"].decode() in request.headers["Sec-WebSocket-Protocol"]
    if b"sec-websocket-extensions" in fields:
        assert "permessage-deflate" in request.headers["Sec-WebSocket-Extensions"]
