"""Law 10: background tasks record, they do not raise, except for a bug of ours."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.raw import RawPeer, frame, raw_client
from trio_ws import ConnectionClosedError, RemoteProtocolError, connect_websocket
from trio_ws.testing import FaultyStream


@pytest.mark.parametrize("end", ["eof", "reset", "garbage"])
async def test_nursery_of_the_user_hears_nothing_of_what_happens_to_a_connection(
    end: str, autojump_clock: None
) -> None:
    """Over a real socket, since connect_websocket() connects by itself."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with trio.open_nursery() as nursery:
        accepted: list[RawPeer] = []

        async def accept() -> None:
            accepted.append(RawPeer(await listener.accept()))
            await accepted[0].open_as_server()

        nursery.start_soon(accept)
        port = listener.socket.getsockname()[1]
        ws = await connect_websocket(nursery, f"ws://127.0.0.1:{port}/")
        await accepted[0].opened.wait()
        if end == "eof":
            await accepted[0].stream.aclose()
        elif end == "reset":
            accepted[0].stream.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # type: ignore[attr-defined]  # SO_LINGER 0
            await accepted[0].stream.aclose()
        else:
            await accepted[0].send(frame(0x7, mask=False))
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        expected: dict[str, Any] = {
            "eof": type(None),
            "reset": trio.BrokenResourceError,
            "garbage": RemoteProtocolError,
        }
        assert isinstance(caught.value.__cause__, expected[end])
        await ws.aclose()
        await accepted[0].stream.aclose()
        await listener.aclose()


async def test_pong_that_cannot_be_written_is_recorded(autojump_clock: trio.testing.MockClock) -> None:
    # The calls of our end are: read the request, write the answer, read the ping, write the pong.
    async with raw_client(wrap=lambda stream: FaultyStream(stream, fail_at_call=4)) as (ws, peer):
        await peer.send(frame(0x9, b"?"))
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)


async def test_bug_of_ours_is_raised_bare_and_the_peer_is_told(autojump_clock: trio.testing.MockClock) -> None:
    def bug(name: str) -> None:
        if armed:
            raise ZeroDivisionError("not an error that a stream may raise")

    armed = False
    with pytest.raises(ZeroDivisionError):
        async with raw_client(wrap=lambda stream: FaultyStream(stream, on_call=bug)) as (ws, peer):
            armed = True
            await peer.send(frame(0x1, b"wake up"))
            await ws.wait_closed()
            await trio.sleep_forever()
