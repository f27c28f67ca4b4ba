"""Arguments that make no sense are answered at once, with what they should be."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.raw import MemoryListener
from trio_ws import LocalHandshakeError
from trio_ws.testing import open_connection_pair

ENTRY_POINTS = [
    trio_ws.serve_websocket,
    trio_ws.open_websocket_server,
    trio_ws.wrap_server_stream,
    trio_ws.receive_upgrade,
    trio_ws.open_websocket,
    trio_ws.connect_websocket,
    trio_ws.wrap_client_stream,
    open_connection_pair,
]


def test_options_have_the_same_name_and_default_everywhere() -> None:
    defaults: dict[str, set[object]] = {}
    for function in ENTRY_POINTS:
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY:
                defaults.setdefault(parameter.name, set()).add(parameter.default)
    assert {name: values for name, values in defaults.items() if len(values) > 1} == {}
    assert defaults["max_queue"] == {16}
    assert defaults["open_timeout"] == {10}


async def nobody(ws: object) -> None:
    raise AssertionError("no client ever comes")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"max_size": 0}, ValueError, "max_size must be at least 1"),
        ({"max_size": "1"}, TypeError, "max_size is a whole number or None"),
        ({"max_queue": 0}, ValueError, "max_queue must be at least 1"),
        ({"max_queue": None}, TypeError, "max_queue is a whole number, not None"),
        ({"max_queue": True}, TypeError, "max_queue is a whole number"),
        ({"max_fragments": 0}, ValueError, "max_fragments"),
        ({"read_limit": -1}, ValueError, "read_limit"),
        ({"write_limit": 1.5}, TypeError, "write_limit"),
        ({"ping_interval": 0}, ValueError, "ping_interval must be more than 0 seconds"),
        ({"ping_timeout": -1}, ValueError, "None switches it off"),
        ({"close_timeout": math.nan}, ValueError, "close_timeout"),
        ({"close_timeout": "10"}, TypeError, "close_timeout is a number of seconds or None"),
        ({"open_timeout": 0}, ValueError, "open_timeout"),
        ({"shutdown_timeout": False}, TypeError, "shutdown_timeout"),
        ({"max_connections": 0}, ValueError, "max_connections"),
        ({"compression": "zstd"}, ValueError, "compression is 'deflate', a Deflate or None, not 'zstd'"),
        ({"compression": True}, TypeError, "not True"),
        ({"subprotocols": "chat"}, TypeError, "not the string 'chat'"),
        ({"subprotocols": ["a b"]}, LocalHandshakeError, "a b"),
        ({"extra_headers": {"X": "a\r\nb"}}, LocalHandshakeError, "'X'"),
        ({"server_header": "a\nb"}, LocalHandshakeError, "Server"),
        ({"origins": "example.org"}, ValueError, "origins"),
        ({"handler_errors": "ignore"}, ValueError, "handler_errors"),
    ],
)
async def test_server_refuses_options_that_make_no_sense(
    options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        async with trio_ws.open_websocket_server(nobody, listeners=[MemoryListener()], **options):
            raise AssertionError("it should not have started")


@pytest.mark.parametrize(
    "where", [{}, {"port": 0, "listeners": []}, {"host": "::", "listeners": []}], ids=["nowhere", "twice", "half"]
)
async def test_server_listens_in_one_place(where: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="say where to listen"):
        await trio_ws.serve_websocket(nobody, shutdown_signals=(), **where)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"subprotocols": "chat"}, TypeError),
        ({"subprotocols": ["chat", "chat"]}, LocalHandshakeError),
        ({"origin": "a\r\nb"}, LocalHandshakeError),
        ({"user_agent": "a\0b"}, LocalHandshakeError),
        ({"extra_headers": {"Upgrade": "x"}}, LocalHandshakeError),
        ({"extra_headers": {"a b": "x"}}, LocalHandshakeError),
        ({"open_timeout": -1}, ValueError),
    ],
)
async def test_client_refuses_options_that_make_no_sense_and_sends_nothing(
    options: dict[str, Any], error: type[Exception]
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(error):
        async with trio_ws.wrap_client_stream(ours, "ws://localhost/", **options):
            raise AssertionError("it should not have opened")
    await ours.aclose()
    assert await theirs.receive_some() == b""


@pytest.mark.parametrize(
    ("option", "error", "says"),
    [
        ({"server_max_window_bits": 8}, ValueError, "server_max_window_bits must be at least 9"),
        ({"client_max_window_bits": 16}, ValueError, "client_max_window_bits must be at most 15"),
        ({"client_max_window_bits": True}, TypeError, "client_max_window_bits is a whole number or None"),
        ({"server_no_context_takeover": 1}, TypeError, "server_no_context_takeover is True or False, not 1"),
        ({"client_no_context_takeover": None}, TypeError, "client_no_context_takeover"),
        ({"mem_level": 0}, ValueError, "mem_level must be at least 1"),
        ({"mem_level": 10}, ValueError, "mem_level must be at most 9"),
        ({"level": -1}, ValueError, "level must be at least 0"),
        ({"level": None}, TypeError, "level is a whole number, not None"),
        ({"min_size": -1}, ValueError, "min_size must be at least 0"),
    ],
)
def test_deflate_refuses_what_zlib_or_the_rfc_does_not_know(
    option: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        trio_ws.Deflate(**option)


async def test_default_of_max_fragments_follows_from_max_size(autojump_clock: trio.testing.MockClock) -> None:
    from trio_ws._options import ConnectionOptions

    assert ConnectionOptions().fragments == 2**20 // 64 + 1
    assert ConnectionOptions(max_size=100).fragments == 1024
    assert ConnectionOptions(max_size=None).fragments == math.inf
    assert ConnectionOptions(max_size=None, max_fragments=7).fragments == 7
