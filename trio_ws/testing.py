"""For testing what you built on trio_ws, without sockets and without waiting on the clock.

:func:`open_connection_pair` gives both ends of a connection, in memory: run your handler on one, play the peer on the
other. With pytest-trio's ``autojump_clock`` (or :class:`trio.testing.MockClock`), timeouts take no time.
:class:`FaultyStream` makes a stream fail when you say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio
import trio.testing

from trio_ws import Compression, HandshakeError, WebSocketConnection, wrap_client_stream, wrap_server_stream

__all__ = ["FaultyStream", "open_connection_pair"]


class FaultyStream(trio.abc.HalfCloseableStream):
    """Another stream, with faults.

    Args:
        stream: The stream to pass everything on to.
        fail_at_call: The call of ``send_all``, ``receive_some`` or ``send_eof`` that fails, counted from 1 over
            all of them. It and all that follow raise :exc:`trio.BrokenResourceError`.
        cut_sent_at: After this many bytes the peer sees the end of the stream; the call that would send more raises
            :exc:`trio.BrokenResourceError` after having sent a part.
        cut_received_at: After this many bytes we see the end of the stream.
        send_step: The most bytes that are sent at once, with a checkpoint in between: what is cancelled there has
            sent a part.
        read_limit: The most bytes that one ``receive_some`` gives.
        on_call: Called with the name of each call before it is made; may raise.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        fail_at_call: int | None = None,
        cut_sent_at: int | None = None,
        cut_received_at: int | None = None,
        send_step: int | None = None,
        read_limit: int | None = None,
        on_call: Callable[[str], object] | None = None,
    ) -> None:
        self._stream = stream
        self._fail_at_call = fail_at_call
        self._may_send = cut_sent_at
        self._may_receive = cut_received_at
        self._send_step = send_step
        self._read_limit = read_limit
        self._on_call = on_call
        #: How many calls there have been.
        self.calls: int = 0

    def _call(self, name: str) -> None:
        self.calls += 1
        if self._on_call is not None:
            self._on_call(name)
        if self._fail_at_call is not None and self.calls >= self._fail_at_call:
            raise trio.BrokenResourceError(f"fault in call {self.calls}, {name}")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._call("send_all")
        allowed = bytes(data)[: self._may_send]
        step = self._send_step or max(len(allowed), 1)
        for start in range(0, len(allowed), step):
            await self._stream.send_all(allowed[start : start + step])
        if self._may_send is not None:
            self._may_send -= len(allowed)
            if len(allowed) < len(data):
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError("the stream was cut")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._call("receive_some")
        limits = [limit for limit in (max_bytes, self._read_limit, self._may_receive) if limit is not None]
        if self._may_receive == 0:
            await trio.lowlevel.checkpoint()
            return b""
        data = bytes(await self._stream.receive_some(min(limits) if limits else None))
        if self._may_receive is not None:
            self._may_receive -= len(data)
        return data

    async def send_eof(self) -> None:
        self._call("send_eof")
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def open_connection_pair(
    *,
    lockstep: bool = False,
    url: str = "ws://localhost/",
    compression: Compression = "deflate",
    max_size: int | None = 2**20,
    max_queue: int = 16,
    max_fragments: int | None = None,
    read_limit: int = 2**16,
    write_limit: int = 2**16,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
) -> AsyncIterator[tuple[WebSocketConnection, WebSocketConnection]]:
    """Both ends of one connection, as ``async with open_connection_pair() as (client, server)``.

    Args:
        lockstep: False: a ``send`` never has to wait for the peer, as with an endless TCP buffer. True: it
            waits until the peer has read, as with none; use it to test backpressure.
        url: What the client asks for.
        compression: As all the other arguments, as in :func:`trio_ws.serve_websocket`; they hold for both ends.

    Leaving the block closes both ends, the client first.
    """
    make_streams = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    client_stream, server_stream = make_streams()
    servers, server_side = trio.open_memory_channel[WebSocketConnection](1)
    leave = trio.Event()

    async def be_the_server() -> None:
        # Shielded, because its end is the client's end: when the block is cancelled, the client is, and this end
        # hears of it as a server on another machine would. If the connection cannot open, the client tells why.
        with trio.CancelScope(shield=True), suppress(HandshakeError, TypeError, ValueError):
            async with wrap_server_stream(
                server_stream,
                compression=compression,
                max_size=max_size,
                max_queue=max_queue,
                max_fragments=max_fragments,
                read_limit=read_limit,
                write_limit=write_limit,
                ping_interval=ping_interval,
                ping_timeout=ping_timeout,
                close_timeout=close_timeout,
            ) as ws:
                servers.send_nowait(ws)
                await leave.wait()

    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_the_server)
        try:
            async with wrap_client_stream(
                client_stream,
                url,
                compression=compression,
                max_size=max_size,
                max_queue=max_queue,
                max_fragments=max_fragments,
                read_limit=read_limit,
                write_limit=write_limit,
                ping_interval=ping_interval,
                ping_timeout=ping_timeout,
                close_timeout=close_timeout,
            ) as client:
                yield client, await server_side.receive()
        except BaseException as exc:
            # Whatever it is: raised again outside, so that the nursery puts no exception group around it.
            error = exc
        leave.set()
    if error is not None:
        raise error
