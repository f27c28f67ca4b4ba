"""The fast lane for the answer to a request that opens a WebSocket.

A server sends thousands of 101s that differ in nothing but the answer to the key. :func:`usual_answer` has the strict
``accept_response`` and ``encode_response`` make one of each kind, and puts another key's answer into it. So what may be
sent is judged by them, and the names of the fields are there once, and not once for each connection.
"""

from __future__ import annotations

from collections.abc import Callable

from .._values import Response, known_headers
from .response import encode_response
from .upgrade import accept_key

__all__ = ["Answer", "usual_answer"]

#: A 101 and its bytes, from a key.
Answer = Callable[[str], tuple[Response, bytes]]

_ACCEPT = "Sec-WebSocket-Accept"


def usual_answer(example: Response) -> Answer:
    """Return what makes 101s that differ from this one in the answer to the key alone.

    Raises:
        LocalHandshakeError: This one may not be sent.
    """
    fields, names = example.headers.fields, tuple(name.lower() for name, _ in example.headers.fields)
    place = names.index(_ACCEPT.lower())
    before, behind = fields[:place], fields[place + 1 :]
    name = f"{_ACCEPT}: ".encode()
    start, _, rest = encode_response(example).partition(name)
    start, end = start + name, rest[len(fields[place][1]) :]

    def answer(key: str) -> tuple[Response, bytes]:
        accept = accept_key(key)
        headers = known_headers((*before, (_ACCEPT, accept), *behind), names)
        return Response(101, b"", headers), b"".join((start, accept.encode(), end))

    return answer
