"""A whole connection over a stream in memory: the handshake, a handler that does this and that, a peer, a fault.

Input, a byte each: what is ours, the choices of ``frames.py``, the fault and where, how the peer behaves, Trio's
scheduler, the number of the handler's steps; then these steps, then what the peer sends.

Time is a mock clock that jumps when nothing else happens, so a run that hangs ends by its time limit at once.
"""

from __future__ import annotations

import base64
import logging
import math
import os
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any
from unittest import mock

import attrs
import trio
import trio.testing
from trio._core import _run as trio_run

from tests.fuzz.budget import Bill, Budget
from tests.fuzz.frames import INFLATING, Agreed, Conversation, feed, read_conversation
from tests.fuzz.source import Source, pieces
from tests.raw import ACCEPT, CLOSE, CONTINUATION, KEY, REQUEST, Frame, frames, torn
from trio_ws import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    LocalProtocolError,
    WebSocketConnection,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_ws._wire.protocol import Failure
from trio_ws.testing import FaultyStream

BUDGET = Budget(steps=20_000, steps_per_byte=1000, memory=512 * 1024, memory_per_byte=1000)

#: Seconds of mock time that a handler waits for one thing, more than the keepalive waits for a dead peer.
PATIENCE = 50
#: Seconds that anything may go on when the connection is closed: close_timeout, lingering, and a little.
LAST_SECONDS = 12.5
#: Steps of a handler.
MAX_STEPS = 31
#: Seconds of mock time; more than a handler's waits and a connection's timeouts together.
LIMIT = MAX_STEPS * PATIENCE + 100
#: Bytes of a wire that are cut as the input says. Each piece takes several turns of the scheduler, which are slow.
FINE = 1000
ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()


@attrs.frozen
class Plan:
    """One run."""

    conversation: Conversation
    wire: bytes
    lockstep: bool
    max_queue: int
    read_limit: int
    fault: dict[str, Any]
    #: What the peer does: reads or not, seconds between two pieces, what it does at the end.
    peer_reads: bool
    pause: int
    peer_closes: bool
    seed: int
    steps: bytes

    @property
    def may_cut_writes(self) -> bool:
        """Whether a write may fail, or be cancelled: by the handler, or by its end while another task writes."""
        if self.lockstep or not self.fault.keys().isdisjoint(("fail_at_call", "cut_sent_at", "send_step")):
            return True
        return any(step & 0x80 or ACTS[step % len(ACTS)] is send_cancelled for step in self.steps)


def read_plan(data: bytes) -> Plan:
    source = Source(data)
    ours, front = source.byte(), source.take(3)
    fault, at, peer, seed = source.byte(), source.byte(), source.byte(), source.byte()
    steps = source.take(source.byte() & MAX_STEPS)
    conversation = read_conversation(front + source.rest(), "client" if ours & 1 else "server")
    greeting = b"" if ours & 2 else greet(ANSWER if ours & 1 else REQUEST, conversation.deflate)
    return Plan(
        conversation=conversation,
        wire=greeting + conversation.wire,
        lockstep=bool(ours & 4),
        max_queue=(16, 1, 2, 3)[ours >> 3 & 3],
        read_limit=2**16 if len(conversation.wire) > FINE else (2**16, 1, 7, 100)[ours >> 5 & 3],
        fault=read_fault(fault, at),
        peer_reads=not peer & 1,
        pause=(0, 0, 1, 15)[peer >> 1 & 3],
        peer_closes=bool(peer & 8),
        seed=seed,
        steps=steps,
    )


def greet(head: bytes, deflate: Agreed | None) -> bytes:
    """The peer's head, and in it what makes compression agreed on. How exactly is for other targets to vary."""
    if deflate is None:
        return head
    return head.removesuffix(b"\r\n") + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


def read_fault(kind: int, at: int) -> dict[str, Any]:
    names = ("", "", "fail_at_call", "cut_sent_at", "cut_received_at", "send_step", "read_limit")
    name = names[kind % len(names)]
    return {name: (at + 1) * (64 if name == "send_step" else 1)} if name else {}


def fuzz_one(data: bytes) -> None:
    plan = read_plan(data)
    # A finding has to be one again: nothing may depend on chance. Trio offers no other way to its scheduler's.
    trio_run._r.seed(plan.seed)
    chance = random.Random(plan.seed)
    nonce = base64.b64decode(KEY)  # to which the inputs hold the answer
    run = Run(plan)
    with (
        mock.patch.object(os, "urandom", side_effect=lambda size: nonce if size == 16 else chance.randbytes(size)),
        Log() as log,
        BUDGET.spend(len(plan.wire)) as bill,
    ):
        trio.run(run.main, clock=trio.testing.MockClock(autojump_threshold=0))
        run.settle(bill)
    log.check()
    run.check()


class Log(logging.Handler):
    """Everything that is logged: no bug of ours, and nothing of the peer's that is not quoted."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def check(self) -> None:
        for record in self._records:
            text = record.getMessage()
            assert text.isascii()
            assert text.isprintable()
            assert len(text) < 1000
            assert record.levelno < logging.ERROR, text
            assert record.exc_info is None, text

    def __enter__(self) -> Log:
        logger = logging.getLogger("trio_ws")
        self._before = logger.level, logger.propagate
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logger = logging.getLogger("trio_ws")
        logger.removeHandler(self)
        level, logger.propagate = self._before
        logger.setLevel(level)  # nothing less makes the loggers below it forget that they were to say everything


class Run:
    """One connection from its beginning to its end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        make = trio.testing.lockstep_stream_pair if plan.lockstep else trio.testing.memory_stream_pair
        self._theirs: trio.StapledStream[Any, Any]
        ours, self._theirs = make()
        self._stream = FaultyStream(ours, **plan.fault)
        self._written = bytearray()
        self._ws: WebSocketConnection | None = None
        self._refused: HandshakeError | None = None
        self._closed_at = math.inf

    async def main(self) -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._peer_sends)
                if self._plan.peer_reads:
                    nursery.start_soon(self._peer_reads)
                try:
                    await self._be_ourselves()
                finally:
                    await trio.testing.wait_all_tasks_blocked()  # the peer reads the rest
                    nursery.cancel_scope.cancel()
        assert trio.lowlevel.current_statistics().tasks_living == tasks, "a task was left"

    # The peer

    async def _peer_sends(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for piece in pieces(self._plan.wire, self._plan.conversation.shape, fine=FINE):
                await self._theirs.send_all(piece)
                if self._plan.pause:
                    await trio.sleep(self._plan.pause)
            if self._plan.peer_closes:
                await self._theirs.send_stream.aclose()

    async def _peer_reads(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self._theirs.receive_some():
                self._written += data

    # Our side

    def _open(self) -> AbstractAsyncContextManager[WebSocketConnection]:
        plan, conversation = self._plan, self._plan.conversation
        wrap: Callable[..., AbstractAsyncContextManager[WebSocketConnection]] = (
            wrap_client_stream if conversation.role == "client" else wrap_server_stream
        )
        arguments = ("ws://localhost/chat",) if conversation.role == "client" else ()
        return wrap(
            self._stream,
            *arguments,
            max_size=conversation.max_size,
            max_fragments=int(conversation.max_fragments),
            max_queue=plan.max_queue,
            read_limit=plan.read_limit,
        )

    async def _be_ourselves(self) -> None:
        try:
            async with self._open() as ws:
                self._ws = ws
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, ws)
                    await self._handle(ws, nursery)
                    nursery.cancel_scope.cancel()
        except HandshakeError as exc:
            assert self._ws is None
            self._refused = exc

    async def _handle(self, ws: WebSocketConnection, nursery: trio.Nursery) -> None:
        for step in self._plan.steps:
            act = ACTS[step % len(ACTS)]
            if step & 0x80:
                nursery.start_soon(self._limited, act, ws, step >> 4 & 7)
            else:
                await self._limited(act, ws, step >> 4 & 7)

    async def _limited(self, act: Act, ws: WebSocketConnection, how: int) -> None:
        with trio.move_on_after(PATIENCE) as scope:
            try:
                await act(ws, how)
            except (ConnectionClosed, LocalProtocolError) as exc:
                check_text(exc)
        # Law 2: whoever waits hears that the connection is closed.
        late = trio.current_time() - self._closed_at > LAST_SECONDS
        assert not (scope.cancelled_caught and late), f"{act.__name__}() still waits for a connection that is closed"

    async def _watch(self, ws: WebSocketConnection) -> None:
        await ws.wait_closed()
        self._closed_at = trio.current_time()

    def settle(self, bill: Bill) -> None:
        """Of what the handler did, its steps and the bytes it sent count as input too."""
        plan, sent = self._plan, self._ws.statistics().bytes_sent if self._ws else 0
        bill.size += 20 * len(plan.steps) + sent // 16
        bill.held = 4 * sent
        if plan.conversation.deflate:
            # Each end of a connection has a window for either direction.
            bill.held += 4 * INFLATING + 4 * (plan.max_queue + 2) * plan.conversation.max_size

    # What has to be true at the end

    def check(self) -> None:
        if self._ws is not None:
            reason = self._ws.close_reason
            assert reason is not None, "the block was left, and the connection is not closed"
            assert str(reason).isprintable()
        else:
            assert self._refused is not None
            assert str(self._refused).isprintable()
        if self._plan.peer_reads:
            self._check_written(bytes(self._written))

    def _check_written(self, data: bytes) -> None:
        head, blank, behind = data.partition(b"\r\n\r\n")
        if self._ws is None:
            if isinstance(self._refused, ConnectionRejected) and self._plan.conversation.role == "server":
                assert self._plan.fault or head.startswith(b"HTTP/1.1 %d " % self._refused.response.status)
            return
        assert blank
        reason = self._ws.close_reason
        assert reason is not None
        sent = list(frames(behind))
        check_sequence(sent, masked=self._plan.conversation.role == "client")
        received = feed(self._plan.conversation.peer(), behind)
        assert not [event for event in received if isinstance(event, Failure)]
        closes = [frame.close_code for frame in sent if frame.opcode == CLOSE]
        said = [] if reason.sent_code is None else [reason.sent_code]
        assert closes in ([], said), f"{closes} was sent, {said} is in the reason"
        # A write that is cancelled or fails is the end of the stream (law 1), also for a close frame that has to wait
        # behind it and stands in the reason already.
        assert closes == said or self._plan.may_cut_writes, f"{said} is in the reason and was not sent"
        assert not torn(behind) or self._plan.may_cut_writes


def check_sequence(sent: list[Frame], *, masked: bool) -> None:
    """RFC 6455 §5.1, §5.4, §5.5: what any peer may take for granted."""
    in_message = False
    for index, frame in enumerate(sent):
        assert frame.masked == masked
        if frame.opcode >= CLOSE:
            assert frame.fin
            assert len(frame.payload) <= 125
            assert frame.opcode != CLOSE or index == len(sent) - 1
        else:
            assert (frame.opcode == CONTINUATION) == in_message
            in_message = not frame.fin


# What a handler does


Act = Callable[[WebSocketConnection, int], Coroutine[Any, Any, None]]


def check_text(error: Exception) -> None:
    assert str(error).isprintable()


async def receive(ws: WebSocketConnection, how: int) -> None:
    message = await ws.receive()
    assert isinstance(message, (str, bytes))


async def receive_all(ws: WebSocketConnection, how: int) -> None:
    async for message in ws:
        await ws.send(message)


async def send(ws: WebSocketConnection, how: int) -> None:
    await ws.send(("", "é" * 100, b"", bytes(200), bytearray(3), memoryview(b"abc"), "x" * 20_000, bytes(17_000))[how])


async def send_cancelled(ws: WebSocketConnection, how: int) -> None:
    with trio.move_on_after(how / 7):
        await ws.send(bytes(5000))


async def send_fragments(ws: WebSocketConnection, how: int) -> None:
    async def slowly() -> AsyncGenerator[str, None]:
        for piece in ("a", "", "é" * 50):
            yield piece
            await trio.sleep(how)

    if how & 1:
        async with aclosing(slowly()) as fragments:
            await ws.send_fragments(fragments)
    else:
        await ws.send_fragments([b"a", b"b" * how])


async def send_fragments_badly(ws: WebSocketConnection, how: int) -> None:
    await ws.send_fragments(["a", b"b"] if how & 1 else [])


async def receive_fragments(ws: WebSocketConnection, how: int) -> None:
    async with ws.receive_fragments() as fragments:
        async for _ in fragments:
            if how & 1:
                break
            if how & 2:
                await trio.sleep(0.1)


async def ping(ws: WebSocketConnection, how: int) -> None:
    with trio.move_on_after(how * 10):
        assert await ws.ping() >= 0


async def close(ws: WebSocketConnection, how: int) -> None:
    with trio.fail_after(LAST_SECONDS):  # law 4
        await ws.aclose((1000, 1001, 1011, 3000, 4999, 1005, 999, 1000)[how], "x" * (how * 20))


async def wait_closed(ws: WebSocketConnection, how: int) -> None:
    with trio.move_on_after(how):
        assert await ws.wait_closed() is ws.close_reason


async def sleep(ws: WebSocketConnection, how: int) -> None:
    await trio.sleep(how * 5)


async def look(ws: WebSocketConnection, how: int) -> None:
    statistics = ws.statistics()
    assert min(attrs.astuple(statistics)) >= 0
    assert repr(ws).isprintable()
    assert ws.latency is None or ws.latency >= 0


ACTS = [
    receive,
    send,
    receive_fragments,
    send_fragments,
    ping,
    close,
    sleep,
    send_cancelled,
    receive_all,
    wait_closed,
    look,
    send_fragments_badly,
]
