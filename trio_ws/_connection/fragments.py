"""One message in several parts: sending it as it is made, receiving it as it arrives (RFC 6455 §5.4)."""

from __future__ import annotations

from types import TracebackType

import trio

from .._errors import ConnectionClosedError, LocalProtocolError
from .._values import CloseCode
from .._wire.events import Close
from .inbox import Assembly
from .session import Session

__all__ = ["FragmentChannel", "FragmentedMessage"]


class FragmentedMessage:
    """``async with`` this while sending one message in fragments; nobody else's data frames come in between."""

    def __init__(self, session: Session, *, compress: bool) -> None:
        self._session = session
        self._compress = compress
        self._kind: type[str] | type[bytes] | None = None
        self._begun = False

    async def send(self, data: str | bytes) -> None:
        if self._kind is None:
            # Not before there is something to say: until then other tasks may send.
            await self._session.sender.begin_fragmented()
            self._begun = True
        elif not isinstance(data, self._kind):
            raise LocalProtocolError("the fragments of one message must be all text or all binary")
        await self._session.sender.send_frame(data, finished=False, compress=self._compress)
        self._kind = str if isinstance(data, str) else bytes

    async def __aenter__(self) -> FragmentedMessage:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, complete = self._session, False
        try:
            if self._kind is not None and error is None:
                # Which fragment is the last is known only now, so the message ends with an empty one.
                await self._session.sender.send_frame(self._kind(), finished=True, compress=self._compress)
                complete = True
        finally:
            session.sender.messages_sent += complete
            if self._kind is not None and not complete:
                session.say_goodbye(Close(CloseCode.INTERNAL_ERROR, "message cut short"))  # nothing may follow a half
            if self._begun:
                session.sender.end_fragmented()


class FragmentChannel(trio.abc.ReceiveChannel["str | bytes"]):
    """The pieces of one incoming message."""

    def __init__(self, session: Session, assembly: Assembly, source: trio.MemoryReceiveChannel[str | bytes]) -> None:
        self._session = session
        self._assembly = assembly
        self._source = source

    async def receive(self) -> str | bytes:
        try:
            piece = await self._source.receive()
        except trio.EndOfChannel:
            if self._assembly.complete:
                raise
            error = self._session.closing.error()
            # Never ConnectionClosedOK, which would look like the end of the message.
            raise ConnectionClosedError(error.reason) from error.__cause__
        if self._session.inbox.full:
            self._session.inbox.move_up()
        return piece

    async def aclose(self) -> None:
        self._source.close()
        self._session.inbox.move_up()
        await trio.lowlevel.checkpoint()
