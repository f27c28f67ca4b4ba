"""Negotiation of permessage-deflate, as functions from header values to header values (RFC 6455 §9.1, RFC 7692 §7)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from tests.limits.measure import LINEAR, MORE, time_ratio
from trio_ws import Deflate
from trio_ws._wire.extensions import DeflateParameters, answer_offers, check_answer, make_offer, parse_answer

DEFAULT = "permessage-deflate; server_max_window_bits=12"
BROWSER = "permessage-deflate; client_max_window_bits"


# The server


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        pytest.param([], None, id="no-offer"),
        pytest.param(["permessage-deflate"], DEFAULT, id="Firefox"),
        pytest.param([BROWSER], f"{DEFAULT}; client_max_window_bits=12", id="Chromium"),
        pytest.param(["permessage-bzip2"], None, id="another-extension"),
        pytest.param(["permessage-bzip2, permessage-deflate"], DEFAULT, id="behind-another-extension"),
        pytest.param(["permessage-bzip2; x=1", "permessage-deflate"], DEFAULT, id="in-another-field"),
        pytest.param([" ,, permessage-deflate\t,"], DEFAULT, id="empty-items-and-space"),
        pytest.param(["permessage-deflate ; server_max_window_bits = 10"], f"{DEFAULT[:-1]}0", id="space-around"),
        pytest.param(
            ["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
            "permessage-deflate; server_max_window_bits=10",
            id="first-of-several-wins",
        ),
        pytest.param(["permessage-deflate; x, permessage-deflate"], DEFAULT, id="unknown-parameter-declines-its-offer"),
        pytest.param(
            ["permessage-deflate; server_max_window_bits=10; server_max_window_bits=10, permessage-deflate"],
            DEFAULT,
            id="repeated-parameter-declines-its-offer",
        ),
        pytest.param(["permessage-deflate; server_max_window_bits=15"], DEFAULT, id="server-window-may-be-smaller"),
        pytest.param(["permessage-deflate; server_max_window_bits=8"], None, id="zlib-cannot-compress-with-8-bits"),
        pytest.param(
            ["permessage-deflate; server_max_window_bits=8, permessage-deflate"], DEFAULT, id="8-bits-then-any"
        ),
        pytest.param(
            ["permessage-deflate; client_max_window_bits=8"],
            f"{DEFAULT}; client_max_window_bits=8",
            id="client-may-keep-within-8-bits",
        ),
        pytest.param(
            ["permessage-deflate; client_max_window_bits=15"],
            f"{DEFAULT}; client_max_window_bits=12",
            id="client-window-may-be-smaller",
        ),
        pytest.param(
            ['permessage-deflate; client_max_window_bits="10"'],
            f"{DEFAULT}; client_max_window_bits=10",
            id="quoted-value",
        ),
        pytest.param(
            [r'permessage-deflate; client_max_window_bits="1\0"'],
            f"{DEFAULT}; client_max_window_bits=10",
            id="quoted-value-with-escape",
        ),
        pytest.param(
            ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
            id="no-context-takeover",
        ),
    ],
)
def test_server_answers_the_first_acceptable_offer(offers: list[str], answer: str | None) -> None:
    assert answer_offers(offers, Deflate()) == answer


@pytest.mark.parametrize("name", ["server_max_window_bits", "client_max_window_bits"])
@pytest.mark.parametrize(
    "value", ["7", "16", "08", "010", "1", "", "abc", "-9", "9.0", "\u0661\u0660", "1e1", "99999999999", "0xa"]
)
def test_ill_valued_window_declines_the_offer_or_fails_the_handshake(name: str, value: str) -> None:
    offer = f'permessage-deflate; {name}="{value}"'
    try:
        answer = answer_offers([f"{offer}, permessage-deflate"], Deflate())
    except ValueError:  # not even a token
        assert not value.isascii() or value == ""
    else:
        assert answer == DEFAULT
    with pytest.raises(ValueError, match=r"token|from 8 to 15"):
        check_answer([offer], Deflate())


@pytest.mark.parametrize(
    "parameter",
    [
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_max_window_bits",
        "Server_max_window_bits=10",
        "server_max_window_bits=10; server_max_window_bits=11",
        "client_no_context_takeover; client_no_context_takeover",
    ],
)
def test_parameter_that_is_not_as_it_should_be_declines_the_offer_or_fails_the_handshake(parameter: str) -> None:
    assert answer_offers([f"permessage-deflate; {parameter}"], Deflate()) is None
    with pytest.raises(ValueError, match=r"no value|from 8 to 15|not one of its parameters|twice"):
        check_answer([f"permessage-deflate; {parameter}"], Deflate())


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "permessage-deflate;",
        "permessage-deflate; ,",
        "permessage-deflate permessage-deflate",
        "permessage-deflate; a=",
        "permessage-deflate; a=b c",
        'permessage-deflate; a="b',
        'permessage-deflate; a="b\\"',
        'permessage-deflate; a=""',
        'permessage-deflate; a="b c"',
        'permessage-deflate; a="b"c',
        '"permessage-deflate"',
        "=permessage-deflate",
        "permessage-deflate\xe9",
        "permessage/deflate",
        ";",
    ],
)
def test_header_that_breaks_the_grammar_is_an_error(header: str) -> None:
    for deflate in (Deflate(), None):
        with pytest.raises(ValueError, match=r"is missing|not a token|no comma|is empty"):
            answer_offers([header], deflate)
        with pytest.raises(ValueError, match=r"is missing|not a token|no comma|is empty"):
            check_answer([header], deflate)


@pytest.mark.parametrize(
    ("begin", "middle"),
    [('a; b="', r"\c"), ("a", "; b"), ("a", ", a"), ("", '"'), ("b", " "), ("a; b", "="), ("a; b", '="c"; d')],
    ids=["unclosed-quote", "parameters", "items", "quotes", "spaces", "equals", "quoted-values"],
)
def test_header_takes_linear_time(begin: str, middle: str) -> None:
    def work(size: int) -> None:
        text = begin + middle * (size // len(middle))
        for _ in range(5):
            with suppress(ValueError):
                answer_offers([text], Deflate())

    assert time_ratio(work, 5_000, MORE * 5_000) <= LINEAR


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"server_max_window_bits": 15}, "permessage-deflate; client_max_window_bits=12"),
        ({"server_max_window_bits": 9}, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=12"),
        (
            {"client_max_window_bits": 15},
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=15",
        ),
        (
            {"server_no_context_takeover": True},
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            {"client_no_context_takeover": True},
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
        ),
    ],
)
def test_server_asks_for_what_it_was_told_to(options: dict[str, Any], answer: str) -> None:
    assert answer_offers([BROWSER], Deflate(**options)) == answer


def test_client_window_is_in_the_answer_only_if_offered() -> None:
    assert answer_offers(["permessage-deflate"], Deflate(client_max_window_bits=9)) == DEFAULT


def test_server_without_compression_answers_nothing() -> None:
    assert answer_offers([BROWSER], None) is None


# The client


@pytest.mark.parametrize(
    ("options", "offer"),
    [
        ({}, BROWSER),
        ({"client_max_window_bits": 10}, f"{BROWSER}=10"),
        ({"server_max_window_bits": 15}, BROWSER),
        ({"server_max_window_bits": 10}, "permessage-deflate; server_max_window_bits=10; client_max_window_bits"),
        (
            {"server_no_context_takeover": True, "client_no_context_takeover": True},
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
    ],
)
def test_client_offers_what_it_was_told_to(options: dict[str, Any], offer: str) -> None:
    assert make_offer(Deflate(**options)) == offer


def test_client_without_compression_offers_nothing() -> None:
    assert make_offer(None) is None


@pytest.mark.parametrize(
    ("options", "answer", "agreed"),
    [
        ({}, [], None),
        ({}, ["permessage-deflate"], DeflateParameters()),
        (
            {},
            ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
            DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True),
        ),
        (
            {},
            ["permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"],
            DeflateParameters(server_max_window_bits=8, client_max_window_bits=8),
        ),
        (
            {"server_max_window_bits": 10, "client_max_window_bits": 10, "client_no_context_takeover": True},
            ['permessage-deflate;server_max_window_bits="10"'],
            DeflateParameters(server_max_window_bits=10),
        ),
        ({"client_max_window_bits": 10}, ["permessage-deflate"], DeflateParameters()),
    ],
)
def test_client_takes_an_answer_within_its_offer(
    options: dict[str, Any], answer: list[str], agreed: DeflateParameters | None
) -> None:
    check_answer(answer, Deflate(**options))
    assert parse_answer(answer) == agreed


@pytest.mark.parametrize(
    ("options", "answer", "why"),
    [
        (None, "permessage-deflate", "we offered none"),
        ({}, "permessage-bzip2", "we offer permessage-deflate at most"),
        ({}, "permessage-deflate, permessage-deflate", "and that once"),
        ({}, "permessage-deflate, permessage-bzip2", "and that once"),
        ({}, "permessage-deflate; client_max_window_bits", "client_max_window_bits is a number from 8 to 15"),
        ({}, "permessage-deflate; x=1", "'x' is not one of its parameters"),
        ({"server_no_context_takeover": True}, "permessage-deflate", "lacks server_no_context_takeover"),
        ({"server_max_window_bits": 10}, "permessage-deflate", "server_max_window_bits of at most 10"),
        (
            {"server_max_window_bits": 10},
            "permessage-deflate; server_max_window_bits=11",
            "server_max_window_bits of at most 10",
        ),
        (
            {"client_max_window_bits": 10},
            "permessage-deflate; client_max_window_bits=11",
            "client_max_window_bits of at most 10",
        ),
    ],
)
def test_client_refuses_an_answer_beyond_its_offer(options: dict[str, Any] | None, answer: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_answer([answer], None if options is None else Deflate(**options))


@pytest.mark.parametrize("server_bits", [None, *range(9, 16)])
@pytest.mark.parametrize("client_bits", [None, *range(9, 16)])
def test_both_roles_of_ours_agree_whatever_they_are_told(server_bits: int | None, client_bits: int | None) -> None:
    for client_wants in (
        Deflate(),
        Deflate(server_max_window_bits=server_bits, client_no_context_takeover=True),
        Deflate(client_max_window_bits=client_bits, server_no_context_takeover=True),
    ):
        offer = make_offer(client_wants)
        assert offer is not None
        server_wants = Deflate(server_max_window_bits=server_bits, client_max_window_bits=client_bits)
        answer = answer_offers([offer], server_wants)
        assert answer is not None
        check_answer([answer], client_wants)
        agreed = parse_answer([answer])
        assert agreed is not None
        assert agreed.server_max_window_bits <= (server_bits or 12)
        assert agreed.client_max_window_bits <= (client_bits or 12)
