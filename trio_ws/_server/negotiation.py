"""What a server answers to a well-formed request: its hooks first, then RFC 6455 §4.2.2, then the Origin."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TypeVar

import attrs
import trio

from .._errors import ConnectionRejected, LocalHandshakeError
from .._options import HandshakeOptions, ProcessResponse
from .._values import Headers, Request, Response, quote
from .._wire.origin import check_origin, validate_origins
from .._wire.server_handshake import (
    accept_response,
    check_caller_fields,
    check_subprotocol_names,
    check_upgrade,
    choose_extensions,
    encode_response,
    offered_subprotocols,
)
from .._wire.usual_answer import Answer, usual_answer
from .upgrade import Upgrade

__all__ = ["check_handshake_options", "negotiate"]

_log = logging.getLogger("trio_ws.server")
_T = TypeVar("_T")

#: What process_response may not change in a 101, because the client checks it (RFC 6455 §4.1).
_SETTLED = (
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
)

#: A name of a subprotocol that is longer is not kept: what clients offer is up to them, where a hook chooses from it.
_LONGEST_KEPT = 256


def check_handshake_options(options: HandshakeOptions) -> HandshakeOptions:
    """Find out now, not at the first client, whether these options can be sent."""
    encode_response(_with_server_header(accept_response("", headers=options.extra_headers), options))
    return attrs.evolve(
        options,
        origins=validate_origins(options.origins),
        subprotocols=check_subprotocol_names(options.subprotocols),
        extra_headers=check_caller_fields(options.extra_headers),
        server_header=None if options.server_header is None else str.__str__(options.server_header),
    )


async def _result(value: _T | Awaitable[_T]) -> _T:
    """What a hook returned, plain or async."""
    return await value if inspect.isawaitable(value) else value


def _with_server_header(response: Response, options: HandshakeOptions) -> Response:
    if options.server_header is None or "Server" in response.headers:
        return response
    fields = (*response.headers.fields, ("Server", options.server_header))
    return Response(response.status, response.body, fields)


def _make_answer(extra: Headers, server: str | None, subprotocol: str | None, extensions: str | None) -> Answer:
    """Every 101 of a server with these in it."""
    own = extra if server is None or "Server" in extra else Headers((*extra.fields, ("Server", server)))
    return usual_answer(accept_response("", subprotocol=subprotocol, extensions=extensions, headers=own))


#: A server makes a handful of them, for thousands of connections.
_kept_answer = lru_cache(maxsize=64)(_make_answer)


def _choose_subprotocol(request: Request, offered: tuple[str, ...], options: HandshakeOptions) -> str | None:
    if options.select_subprotocol is not None:
        chosen = options.select_subprotocol(request, offered)
        if chosen is None:
            return None
        if chosen not in offered:
            raise LocalHandshakeError(f"select_subprotocol chose {chosen!r}, which the client does not offer")
        return offered[offered.index(chosen)]  # the very str, and not what is equal to it
    # The server's order is the preference; if nothing matches, none is used (RFC 6455 §4.2.2).
    return next((name for name in options.subprotocols if name in offered), None)


async def _first_answer(
    upgrade: Upgrade, options: HandshakeOptions, admit: Callable[[], None]
) -> tuple[Response, bytes | None]:
    request = upgrade.request
    if options.process_request is not None:
        answer = await _result(options.process_request(request))
        if answer is not None:
            _check_hook_response("process_request", answer, may_be_101=False)
            return answer, None
    try:
        key = check_upgrade(request)
        check_origin(request, options.origins)
        offered = offered_subprotocols(request)
        extensions = choose_extensions(request, upgrade._options.compression)
        admit()  # last, so that those who are refused take nobody's place
    except ConnectionRejected as exc:
        return exc.response, None
    subprotocol = _choose_subprotocol(request, offered, options)
    make = _kept_answer if subprotocol is None or len(subprotocol) <= _LONGEST_KEPT else _make_answer
    return make(options.extra_headers, options.server_header, subprotocol, extensions)(key)


async def _final_answer(request: Request, first: Response, process_response: ProcessResponse) -> Response:
    answer = await _result(process_response(request, first))
    if answer is None:
        return first
    _check_hook_response("process_response", answer, may_be_101=first.status == 101)
    if answer.status == 101 and any(answer.headers.get_all(name) != first.headers.get_all(name) for name in _SETTLED):
        raise LocalHandshakeError("process_response changed a header that belongs to the handshake")
    return answer


def _check_hook_response(hook: str, response: object, *, may_be_101: bool) -> None:
    if not isinstance(response, Response):
        raise TypeError(f"{hook} must return a Response or None, not {type(response).__name__}")
    if response.status == 101 and not may_be_101:
        raise LocalHandshakeError(f"{hook} may not answer 101; it returns None to let the handshake go on")
    encode_response(response)  # raises if it may not be sent


async def _answer(
    upgrade: Upgrade, options: HandshakeOptions, admit: Callable[[], None]
) -> tuple[Response, bytes | None]:
    """The answer, and its bytes if they are known. A hook that raises is a 500 and a log line, no more."""
    request = upgrade.request
    try:
        first, head = await _first_answer(upgrade, options, admit)
        first = _with_server_header(first, options)
        if options.process_response is None:
            return first, head
        response = await _final_answer(request, first, options.process_response)
    except Exception:
        # Whatever a hook of the user's raises: the client gets an answer, the server lives (laws 6 and 8).
        _log.exception("a hook failed for the request %s %s", quote(request.method), quote(request.target))
        return _with_server_header(Response(500, "The server failed to answer this request.\n"), options), None
    return response, head if response is first else None


async def _answer_in_time(
    upgrade: Upgrade, options: HandshakeOptions, admit: Callable[[], None]
) -> tuple[Response, bytes | None]:
    with trio.move_on_at(upgrade._deadline):
        return await _answer(upgrade, options, admit)
    _log.error("process_request or process_response took longer than open_timeout")
    return _with_server_header(Response(503, "The server took too long to answer.\n"), options), None


def _admit_everyone() -> None:
    pass


async def negotiate(
    upgrade: Upgrade, options: HandshakeOptions, admit: Callable[[], None] = _admit_everyone
) -> Response:
    """Answer the request as the options say; return the 101 that was sent.

    Args:
        admit: Called when the hooks have let the request pass; raises ConnectionRejected to refuse it.

    Raises:
        ConnectionRejected: The request was answered otherwise; the client has the answer.
    """
    if options.process_request is None and options.process_response is None:
        response, head = await _answer(upgrade, options, admit)  # there is nobody to wait for
    else:
        response, head = await _answer_in_time(upgrade, options, admit)
    if response.status != 101:
        await upgrade.reject(response)
        raise ConnectionRejected(response)
    await upgrade._switch(response, head)
    return response
