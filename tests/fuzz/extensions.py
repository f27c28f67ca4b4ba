"""Both sides agree on permessage-deflate. Input: a byte of what to do, two of settings for each side, the header.

What to do: read the header as a client's offers, as a server's answer, or let our two sides agree between themselves.
Lines are the values of several fields. They are read as ISO 8859-1, which is how they come out of a head.
"""

from __future__ import annotations

import h11
from websockets.exceptions import InvalidHeaderFormat
from websockets.headers import parse_extension
from websockets.typing import ExtensionHeader

from tests.fuzz.budget import Budget
from tests.fuzz.source import Source
from trio_ws._options import Deflate
from trio_ws._wire.deflate import deflate_agreed_in
from trio_ws._wire.extensions import DeflateParameters, answer_offers, check_answer, make_offer, parse_answer
from trio_ws._wire.protocol import Protocol

#: Measured, and doubled. Steps: the shortest parameter has two bytes (";a") and takes twenty, the shortest extension as
#: well ("a,"). Memory: for each a tuple, a list and strings of at least 50 bytes; and `re` keeps what it has compiled.
BUDGET = Budget(steps=400, steps_per_byte=25, memory=48 * 1024, memory_per_byte=200)


def fuzz_one(data: bytes) -> None:
    source = Source(data)
    what, settings, other = source.byte(), read_settings(source.take(2)), read_settings(source.take(2))
    values = source.rest().decode("latin-1").split("\n")
    if what % 3 == 0:
        check_offers(values, settings)
    elif what % 3 == 1:
        check_response(values, settings)
    else:
        check_agreement(settings, other)


def read_settings(data: bytes) -> Deflate | None:
    source = Source(data)
    options, windows = source.byte(), source.byte()
    if options & 1:
        return None
    choices = (None, 9, 10, 11, 12, 13, 14, 15)
    return Deflate(
        server_max_window_bits=choices[windows & 7],
        client_max_window_bits=choices[windows >> 3 & 7],
        server_no_context_takeover=bool(options & 2),
        client_no_context_takeover=bool(options & 4),
        min_size=0,
    )


def check_offers(values: list[str], settings: Deflate | None) -> None:
    with BUDGET.spend(len(", ".join(values))):
        try:
            answer = answer_offers(values, settings)
        except ValueError as exc:
            check_text(exc)
            assert offers_in(", ".join(values)) == []
            return
    header = ", ".join(values)
    assert (answer is not None) == (settings is not None and any(map(acceptable, offers_in(header))))
    if answer is None or settings is None:
        return
    agreed = understood(answer)
    # §7.1: no more than what either side can do; and the client is told only what it said it understands.
    assert 9 <= agreed.server_max_window_bits <= (settings.server_max_window_bits or 15)
    assert "client_max_window_bits" in header or "client_max_window_bits" not in answer
    if settings.client_max_window_bits is not None and "client_max_window_bits" in answer:
        assert agreed.client_max_window_bits <= settings.client_max_window_bits
    assert agreed.server_no_context_takeover >= settings.server_no_context_takeover
    assert agreed.client_no_context_takeover >= settings.client_no_context_takeover


def offers_in(header: str) -> list[ExtensionHeader]:
    """What ``websockets`` reads in it; nothing if the header is malformed."""
    try:
        return list(parse_extension(header.strip(" \t")))
    except InvalidHeaderFormat:
        return []


def acceptable(offer: ExtensionHeader) -> bool:
    """Whether we can do what a client offers, and what it says is no more than RFC 7692 §7.1 lets it say."""
    name, parameters = offer
    numbers: list[str | None] = [str(number) for number in range(8, 16)]
    values: dict[str, set[str | None]] = {
        "server_no_context_takeover": {None},
        "client_no_context_takeover": {None},
        "server_max_window_bits": set(numbers[1:]),  # with 8 bits zlib cannot compress
        "client_max_window_bits": {None, *numbers},
    }
    names = [name for name, _ in parameters]
    return (
        name == "permessage-deflate"
        and len(set(names)) == len(names)
        and all(value in values.get(name, ()) for name, value in parameters)
    )


def check_response(values: list[str], settings: Deflate | None) -> None:
    with BUDGET.spend(len(", ".join(values))):
        try:
            check_answer(values, settings)
            agreed = parse_answer(values)
        except ValueError as exc:
            check_text(exc)
            return
    if agreed is None:
        assert not [value for value in values if value.strip(" \t,")]
        return
    assert settings is not None
    assert 8 <= agreed.server_max_window_bits <= (settings.server_max_window_bits or 15)
    assert 8 <= agreed.client_max_window_bits <= 15
    assert agreed.server_no_context_takeover >= settings.server_no_context_takeover


def check_text(error: ValueError) -> None:
    """What the peer sent may stand in it, but only in quotes, and not all of it."""
    assert str(error).isascii()
    assert str(error).isprintable()
    assert len(str(error)) < 300


def understood(answer: str) -> DeflateParameters:
    """What we say, as a header and as the peer understands it."""
    h11.Response(status_code=200, headers=[("Sec-WebSocket-Extensions", answer)])
    agreed = parse_answer([answer])
    assert agreed is not None
    return agreed


def check_agreement(client: Deflate | None, server: Deflate | None) -> None:
    """Whatever the settings of both sides: they agree, and then understand each other."""
    offer = make_offer(client)
    answer = answer_offers([] if offer is None else [offer], server)
    values = [] if answer is None else [answer]
    check_answer(values, client)
    assert (answer is not None) == (client is not None and server is not None)
    ours = Protocol("client", max_size=2000, max_fragments=3, deflate=deflate_agreed_in(values, "client", client, 2000))
    theirs = Protocol(
        "server", max_size=2000, max_fragments=3, deflate=deflate_agreed_in(values, "server", server, 2000)
    )
    for message in ("", "x" * 1000, "x" * 1000, bytes(range(256)) * 7):
        assert theirs.feed(ours.message(message)) == [message]
        assert ours.feed(theirs.message(message)) == [message]
