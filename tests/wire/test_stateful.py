"""Two protocols and the bytes between them: whoever says what, and however its bytes are cut and delayed, the other
hears all of it in order.

The model of a direction is a list: what was said and has left as bytes.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from trio_ws import Deflate
from trio_ws._wire.deflate import deflate_agreed_in
from trio_ws._wire.extensions import answer_offers, check_answer, make_offer
from trio_ws._wire.protocol import Close, Event, Failure, Piece, Ping, Pong, Protocol, Role

MAX_SIZE = 1000
CLOSE_CODES = [1000, 1001, 1005, 1011, 1014, 3000, 4999]

_windows = st.one_of(st.none(), st.integers(9, 15))
compressions = st.one_of(
    st.none(),
    *3
    * [
        st.builds(
            Deflate,
            server_max_window_bits=_windows,
            client_max_window_bits=_windows,
            server_no_context_takeover=st.booleans(),
            client_no_context_takeover=st.booleans(),
            min_size=st.sampled_from([0, 64]),
        )
    ],
)
#: Most repeat themselves or each other, so that there is something to compress; none is over the limit in UTF-8.
PHRASE = '{"user": "alice", "room": "general", "text": "%s", "é": "\U0001f600"}'
texts = st.one_of(
    st.text(max_size=200),
    st.builds(str.__mul__, st.sampled_from(["a", PHRASE]), st.integers(0, 10)),
    st.builds(PHRASE.__mod__, st.text(max_size=30)),
)
binaries = st.one_of(st.binary(max_size=300), st.builds(bytes, st.integers(0, MAX_SIZE)), st.builds(str.encode, texts))
roles: st.SearchStrategy[Role] = st.sampled_from(["client", "server"])
controls = st.binary(max_size=125)


class Side:
    """One end, what it has said and heard."""

    def __init__(self, role: Role, protocol: Protocol) -> None:
        self.role = role
        self.protocol = protocol
        #: On their way to the other end.
        self.wire = b""
        self.said: list[Event] = []
        self.heard: list[Event] = []
        #: The message that is being sent in fragments.
        self.fragments: str | bytes | None = None
        #: The message that is being received in pieces.
        self.pieces: list[str | bytes] = []
        self.closed = False

    def say(self, frame: bytes, *events: Event) -> None:
        self.wire += frame
        self.said += events

    def close(self, close: Close) -> None:
        self.say(self.protocol.close(close), close)
        self.closed = True

    def hear(self, data: bytes) -> None:
        events = self.protocol.feed(data)
        while self.protocol.pending:
            events += self.protocol.feed(b"")
        for event in events:
            if isinstance(event, Piece):
                self.pieces.append(event.data)
                if event.finished:
                    self.heard.append(type(event.data)().join(self.pieces))  # type: ignore[arg-type]
                    self.pieces = []
            else:
                assert not (self.pieces and isinstance(event, (str, bytes))), "a message inside a message"
                self.heard.append(event)
            if isinstance(event, Ping) and self.protocol.open:
                self.say(self.protocol.pong(event.payload), Pong(event.payload))
            if isinstance(event, Close) and not self.closed:
                self.close(Close(event.code))


class Conversation(RuleBasedStateMachine):
    """A client and a server."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: dict[Role, Side] = {}

    @initialize(client=compressions, server=compressions)
    def open(self, client: Deflate | None, server: Deflate | None) -> None:
        offer = make_offer(client)
        answer = answer_offers([] if offer is None else [offer], server)
        agreed = [] if answer is None else [answer]
        check_answer(agreed, client)
        self.sides = {
            "client": self._side("client", agreed, client),
            "server": self._side("server", agreed, server),
        }

    @staticmethod
    def _side(role: Role, agreed: list[str], compression: Deflate | None) -> Side:
        deflate = deflate_agreed_in(agreed, role, compression, MAX_SIZE)
        return Side(role, Protocol(role, max_size=MAX_SIZE, max_fragments=100, deflate=deflate))

    def other(self, side: Side) -> Side:
        return self.sides["server" if side.role == "client" else "client"]

    # Saying

    @rule(role=roles, message=st.one_of(texts, binaries), compress=st.booleans())
    def send(self, role: Role, message: str | bytes, compress: bool) -> None:
        side = self.sides[role]
        if side.protocol.open and side.fragments is None:
            side.say(side.protocol.message(message, compress=compress), message)

    @rule(role=roles, message=st.one_of(texts, binaries))
    def send_what_was_made_before_and_not_sent(self, role: Role, message: str | bytes) -> None:
        """As after a send that was cancelled."""
        side = self.sides[role]
        if side.protocol.open and side.fragments is None:
            assert side.protocol.forget(side.protocol.message(message), [])
            side.say(side.protocol.message(message), message)

    @rule(
        role=roles,
        text=st.text(max_size=30),
        binary=st.booleans(),
        finished=st.booleans(),
        compress=st.booleans(),
    )
    def send_fragment(self, role: Role, text: str, binary: bool, finished: bool, compress: bool) -> None:
        side = self.sides[role]
        if not side.protocol.open or len(side.fragments or "") > 200:
            return
        if side.fragments is None:
            side.fragments = b"" if binary else ""
        part: str | bytes = text.encode() if isinstance(side.fragments, bytes) else text
        side.fragments += part  # type: ignore[operator]
        side.say(side.protocol.message(part, finished=finished, compress=compress))
        if finished:
            side.said.append(side.fragments)
            side.fragments = None

    @rule(role=roles, payload=controls)
    def ping(self, role: Role, payload: bytes) -> None:
        side = self.sides[role]
        if side.protocol.open:
            side.say(side.protocol.ping(payload), Ping(payload))

    @rule(role=roles, payload=controls)
    def pong_that_answers_nothing(self, role: Role, payload: bytes) -> None:
        side = self.sides[role]
        if side.protocol.open:
            side.say(side.protocol.pong(payload), Pong(payload))

    @rule(
        role=roles,
        code=st.sampled_from(CLOSE_CODES),
        reason=st.text(
            st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=30
        ),
    )
    def close(self, role: Role, code: int, reason: str) -> None:
        side = self.sides[role]
        # Not at once: behind it there is little left to say.
        if side.protocol.open and sum(len(each.said) for each in self.sides.values()) > 5:
            side.close(Close(code, "" if code == 1005 else reason))

    # Hearing

    @rule(role=roles, size=st.one_of(st.integers(1, 20), st.integers(1, 2000)))
    def deliver(self, role: Role, size: int) -> None:
        """Some bytes of what this side has said."""
        side = self.sides[role]
        data, side.wire = side.wire[:size], side.wire[size:]
        self.other(side).hear(data)

    @rule(role=roles, size=st.integers(1, 50))
    def deliver_all_in_pieces(self, role: Role, size: int) -> None:
        while self.sides[role].wire:
            self.deliver(role, size)

    # What holds

    @invariant()
    def what_is_heard_was_said_in_this_order(self) -> None:
        for side in self.sides.values():
            heard = self.other(side).heard
            assert heard == side.said[: len(heard)]
            assert not any(isinstance(event, Failure) for event in heard)

    @invariant()
    def nobody_is_open_who_has_said_or_heard_goodbye(self) -> None:
        for side in self.sides.values():
            goodbye = side.closed or any(isinstance(event, Close) for event in side.heard)
            assert side.protocol.open is not goodbye

    def teardown(self) -> None:
        """When nothing is under way any longer, all that was said has been heard, and both are open or both closed."""
        if not self.sides:  # drawing the compression was given up
            return
        while any(side.wire for side in self.sides.values()):
            self.deliver("client", 2000)
            self.deliver("server", 2000)
        client, server = self.sides["client"], self.sides["server"]
        assert client.heard == server.said
        assert server.heard == client.said
        assert client.closed is server.closed
        assert client.protocol.open is server.protocol.open is not client.closed
        if client.closed:
            for side in self.sides.values():
                assert isinstance(side.heard[-1], Close)
                assert isinstance(side.said[-1], Close)


ConversationTest = Conversation.TestCase
ConversationTest.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
