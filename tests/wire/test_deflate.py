"""permessage-deflate at work: what is compressed, what inflates, and where that stops (RFC 7692 §6 and §7.2)."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raw import BINARY, CONTINUATION, PING, TEXT, frame
from tests.zlib_peer import TAIL, Half
from trio_ws import Deflate
from trio_ws._wire.deflate import deflate_agreed_in
from trio_ws._wire.extensions import answer_offers
from trio_ws._wire.protocol import Event, Failure, Piece, Ping, Protocol, Role

JSON = '{"user": "alice", "room": "general", "text": "%s"}'


def protocol(
    role: Role = "server",
    answer: str = "permessage-deflate",
    settings: Deflate | None = None,
    *,
    max_size: int | None = 1000,
    max_fragments: float = 100,
) -> Protocol:
    deflate = deflate_agreed_in([answer], role, settings or Deflate(min_size=0), max_size)
    assert deflate is not None
    return Protocol(role, max_size=max_size, max_fragments=max_fragments, deflate=deflate)


def payload(data: bytes) -> tuple[bool, bytes]:
    """Whether RSV1 is set in this frame of a server's, and its payload."""
    start = {126: 4, 127: 10}.get(data[1], 2)
    return bool(data[0] & 0x40), data[start:]


def whole(events: list[Event]) -> str | bytes:
    """The one message that these events are."""
    if len(events) == 1 and isinstance(events[0], (str, bytes)):
        return events[0]
    parts = [event.data for event in events if isinstance(event, Piece)]
    assert len(parts) == len(events)
    return b"".join(parts) if isinstance(parts[0], bytes) else "".join(parts)  # type: ignore[arg-type]


# What goes out


def test_message_shrinks_and_the_next_one_refers_to_it() -> None:
    ours, peer = protocol(), Half()
    sizes = []
    for _ in range(2):
        compressed, data = payload(ours.message(JSON % "hello"))
        assert compressed
        assert peer.inflate(data) == (JSON % "hello").encode()
        sizes.append(len(data))
    assert sizes[1] < 15 < sizes[0] < len(JSON % "hello")


def test_without_context_takeover_no_message_refers_to_another() -> None:
    ours = protocol(answer="permessage-deflate; server_no_context_takeover")
    frames = {ours.message(JSON * 3) for _ in range(3)}
    assert len(frames) == 1
    assert Half().inflate(payload(frames.pop())[1]) == (JSON * 3).encode()


def test_without_context_takeover_what_does_not_shrink_is_sent_plain() -> None:
    noise = random.Random(1).randbytes(200)
    ours = protocol(answer="permessage-deflate; server_no_context_takeover")
    assert payload(ours.message(noise)) == (False, noise)
    compressed, data = payload(protocol().message(noise))
    assert compressed
    assert len(data) > len(noise)


def test_small_message_is_sent_plain() -> None:
    ours = protocol(settings=Deflate(min_size=10))
    assert payload(ours.message("a" * 9)) == (False, b"a" * 9)
    assert payload(ours.message("a" * 10))[0]
    assert payload(ours.message("é" * 5))[0]  # bytes count, not characters


def test_message_can_be_sent_plain_on_request() -> None:
    ours, peer = protocol(), Half()
    assert payload(ours.message("a" * 50, compress=False)) == (False, b"a" * 50)
    compressed, data = payload(ours.message("a" * 50))
    assert compressed
    assert peer.inflate(data) == b"a" * 50


@pytest.mark.parametrize("compress", [True, False])
def test_first_fragment_decides_for_the_whole_message(compress: bool) -> None:
    ours, peer = protocol(settings=Deflate(min_size=1000)), Half()
    parts = [ours.message(part, finished=False, compress=compress) for part in ("a" * 50, "", "b" * 50)]
    parts.append(ours.message("", compress=not compress))
    assert [part[0] for part in parts] == [0x41 if compress else 0x01, 0x00, 0x00, 0x80]
    data = b"".join(payload(part)[1] for part in parts)
    assert (peer.inflate(data) if compress else data) == b"a" * 50 + b"b" * 50
    # The peer's state is in order afterwards.
    assert peer.inflate(payload(ours.message("c" * 2000))[1]) == b"c" * 2000


def test_empty_message_is_one_zero_byte() -> None:
    ours = protocol()
    assert [payload(ours.message("")) for _ in range(3)] == [(True, b"\x00")] * 3


@pytest.mark.parametrize("mem_level", [1, 5, 9])
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_frame_is_never_longer_than_foreseen(mem_level: int, level: int) -> None:
    noise = random.Random(6)
    ours = protocol("client", settings=Deflate(mem_level=mem_level, level=level, min_size=0))
    plain = Protocol("client", max_size=None, max_fragments=1)
    for size in (*range(0, 2000, 7), 10_000, 65_535, 65_536, 200_000):
        assert len(ours.message(noise.randbytes(size))) <= ours.frame_size(size)
        assert len(plain.message(noise.randbytes(size))) <= plain.frame_size(size)


@pytest.mark.parametrize("bits", range(9, 15))
def test_window_that_was_agreed_is_kept(bits: int) -> None:
    noise = random.Random(2).randbytes(2**bits + 100)  # a larger window would find the second in the first
    ours, large = (
        protocol(answer=f"permessage-deflate; server_max_window_bits={window}").message(noise * 2)
        for window in (bits, 15)
    )
    assert len(large) < 1.2 * len(noise) < 1.8 * len(noise) < len(ours)
    assert Half(bits).inflate(payload(ours)[1]) == noise * 2


def test_client_keeps_within_a_window_of_its_own() -> None:
    noise = random.Random(3).randbytes(2**11)
    one = len(protocol("client").message(noise))
    # 2**12 bytes of window, unless told otherwise.
    assert len(protocol("client").message(noise + bytes(2**11) + noise)) > 1.9 * one
    large = protocol("client", settings=Deflate(client_max_window_bits=15))
    assert len(large.message(noise + bytes(2**11) + noise)) < 1.2 * one


@pytest.mark.parametrize("role", ["client", "server"])
def test_window_that_zlib_cannot_compress_for_makes_all_messages_plain(role: Role) -> None:
    ours = protocol(role, f"permessage-deflate; {role}_max_window_bits=8")
    assert not ours.message("a" * 500)[0] & 0x40


def test_client_may_do_without_context_takeover_although_nobody_asked() -> None:
    ours = protocol("client", settings=Deflate(client_no_context_takeover=True))
    assert len({len(ours.message(JSON)) for _ in range(3)}) == 1


def test_message_that_was_made_but_not_sent_is_not_referred_to() -> None:
    ours, peer = protocol(), Half()
    assert peer.inflate(payload(ours.message(JSON))[1]) == JSON.encode()
    plain, compressed = ours.message(JSON, compress=False), ours.message(JSON)
    assert ours.forget(plain, [compressed])  # nothing can refer to it
    assert not ours.forget(compressed, [plain, ours.message(JSON)])
    never_sent = ours.message(JSON % "never sent")
    assert ours.forget(never_sent, [plain, ours.ping(b"")])
    assert peer.inflate(payload(ours.message(JSON % "never sent"))[1]) == (JSON % "never sent").encode()


def test_without_context_takeover_any_message_may_be_left_out() -> None:
    ours = protocol(answer="permessage-deflate; server_no_context_takeover")
    assert ours.forget(ours.message(JSON * 3), [ours.message(JSON * 3)])


# What comes in


@pytest.mark.parametrize(
    "data", [b"\x00", b"", b"\x03\x00", b"\x03\x00" * 100, b"\x00" + TAIL + b"\x00", b"\x01\x00\x00\xff\xff"]
)
def test_empty_message_inflates_and_disturbs_nothing(data: bytes) -> None:
    ours, peer = protocol(), Half()
    for text in ("before", "after"):
        assert ours.feed(frame(TEXT, peer.compress(text.encode()), rsv=4)) == [text]
        assert whole(ours.feed(frame(TEXT, data, rsv=4))) == ""
        # A stream that ended starts with an empty window, and so does the peer.
        peer = Half()


def test_last_block_may_be_followed_by_others() -> None:
    def final(data: bytes) -> bytes:
        compressor = zlib.compressobj(wbits=-15)
        return compressor.compress(data) + compressor.flush()

    ours = protocol()
    message = final(b"one ") + final(b"") + final(b"two ") + Half().compress(b"three")
    assert whole(ours.feed(frame(TEXT, message, rsv=4))) == "one two three"
    # The message may also end with it, although §7.2.3.4 asks for an octet more.
    assert ours.feed(frame(TEXT, final(b"four"), rsv=4)) == ["four"]
    assert ours.feed(frame(TEXT, Half().compress(b"five"), rsv=4)) == ["five"]


def test_compressed_and_plain_messages_mix() -> None:
    ours, peer = protocol(), Half()
    data = frame(TEXT, peer.compress(b"one"), rsv=4) + frame(TEXT, b"two")
    data += frame(BINARY, peer.compress(b"one three"), rsv=4) + frame(BINARY, b"")
    assert ours.feed(data) == ["one", "two", b"one three", b""]


@given(st.lists(st.integers(0, 60), max_size=10), st.lists(st.integers(0, 400), max_size=10))
def test_control_frames_and_cuts_change_nothing(fragment_edges: list[int], read_edges: list[int]) -> None:
    text = "Wärme und Kälte " * 20
    peer = Half()
    messages = []
    for _ in range(2):
        compressed = peer.compress(text.encode())
        edges = sorted({0, len(compressed), *(edge for edge in fragment_edges if edge < len(compressed))})
        for start, end in pairwise(edges):
            opcode, rsv = (CONTINUATION, 0) if start else (TEXT, 4)
            messages.append(frame(opcode, compressed[start:end], fin=end == edges[-1], rsv=rsv))
            messages.append(frame(PING, b"between"))
    data = b"".join(messages)
    ours = protocol()
    events: list[Event] = []
    for start, end in pairwise(sorted({0, len(data), *(edge for edge in read_edges if edge < len(data))})):
        events += ours.feed(data[start:end])
    pings = [event for event in events if isinstance(event, Ping)]
    assert pings == [Ping(b"between")] * (len(messages) // 2)
    received = [event if isinstance(event, str) else event.data for event in events if isinstance(event, (str, Piece))]
    assert "".join(map(str, received)) == text * 2


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(TEXT, b"\x00", rsv=4, fin=False) + frame(CONTINUATION, b"\x00", rsv=4), id="continuation"),
        pytest.param(frame(TEXT, b"", fin=False) + frame(CONTINUATION, bytes(9999), rsv=4), id="large-continuation"),
        pytest.param(frame(TEXT, bytes(9999), rsv=6), id="large-RSV2"),
        pytest.param(frame(PING, b"", rsv=4), id="ping"),
        pytest.param(frame(TEXT, b"a", rsv=6), id="RSV2"),
        pytest.param(frame(TEXT, b"a", rsv=1), id="RSV3"),
    ],
)
def test_reserved_bit_where_it_may_not_be_is_an_error(data: bytes) -> None:
    failure = protocol().feed(data)[-1]
    assert isinstance(failure, Failure)
    assert failure.code == 1002


def test_continuation_of_nothing_is_not_inflated_also_behind_a_compressed_message() -> None:
    *_, failure = protocol().feed(frame(TEXT, b"\x00", rsv=4) + frame(CONTINUATION, b"\xff\xff\xff"))
    assert isinstance(failure, Failure)
    assert failure.code == 1002


@pytest.mark.parametrize("data", [b"\x00", b"\xff\xff\xff", bytes(1500)], ids=["valid", "invalid", "large"])
def test_message_inside_a_compressed_message_is_an_error(data: bytes) -> None:
    """RFC 6455 §5.4, whatever it would inflate to."""
    begun = frame(TEXT, Half().compress(b"hello"), rsv=4, fin=False)
    failure = protocol().feed(begun + frame(TEXT, data, rsv=4))[-1]
    assert isinstance(failure, Failure)
    assert failure.code == 1002


def test_compressed_message_without_agreement_is_an_error() -> None:
    (failure,) = Protocol("server", max_size=None, max_fragments=10).feed(frame(TEXT, b"\x00", rsv=4))
    assert isinstance(failure, Failure)
    assert failure.code == 1002


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xff\xff", id="invalid-block-type"),
        pytest.param(b"\x00\x05\x00\xff\xffHello", id="invalid-stored-length"),
        pytest.param(b"\x00\x0a\x00\xf5\xffHello", id="stored-block-cut-short"),
        pytest.param(b"\x00\x05", id="stored-block-cut-in-its-length"),
        pytest.param(bytes.fromhex("f2 00 11 00 00"), id="reference-before-the-beginning"),
    ],
)
def test_data_that_does_not_inflate_is_an_error(data: bytes) -> None:
    failure = protocol().feed(frame(BINARY, data, rsv=4))[-1]
    assert isinstance(failure, Failure)
    assert failure.code == 1007
    assert "compressed" in failure.reason


def test_message_that_was_cut_short_is_an_error_wherever() -> None:
    """A block goes on into what follows: the message would be short, and the next one wrong."""

    def whole_as_it_is(data: bytes) -> bool:
        """A stored block begins with what would be an empty one."""
        decompressor = zlib.decompressobj(-15)
        try:
            decompressor.decompress(data + TAIL + b"\x01\x00\x00\xff\xff")
        except zlib.error:
            return False
        return decompressor.eof and not decompressor.unused_data

    generator = random.Random(8)
    cut = 0
    for _ in range(60):
        text = bytes(generator.choices(b"ab{}: ,", k=generator.randrange(5, 60)))
        strategy = generator.choice([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY])
        compressor = zlib.compressobj(generator.choice([0, 1, 9]), wbits=-15, strategy=strategy)
        first, second = (
            (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL) for _ in range(2)
        )
        for before, message in ([b"", first], [first, second]):
            for end in range(1, len(message)):
                if whole_as_it_is(before + TAIL * bool(before) + message[:end]):
                    continue
                ours = protocol()
                ours.feed(frame(BINARY, before, rsv=4))
                failure = ours.feed(frame(BINARY, message[:end], rsv=4))[-1]
                assert isinstance(failure, Failure), (message, end)
                assert failure.code == 1007
                cut += 1
    assert cut > 1000


def test_reference_beyond_the_agreed_window_is_an_error() -> None:
    noise = random.Random(4).randbytes(20_000)
    data = Half(15).compress(noise + noise)
    ours = protocol(answer="permessage-deflate; client_max_window_bits=9", max_size=50_000)
    failure = ours.feed(frame(BINARY, data, rsv=4))[-1]
    assert isinstance(failure, Failure)
    assert failure.code == 1007


def test_text_that_inflates_to_no_utf8_is_an_error_before_the_message_ends_and_the_last_event() -> None:
    data = frame(TEXT, Half().compress(b"abc\xff"), rsv=4, fin=False) + frame(PING, b"not heard") * 10
    failure = protocol().feed(data)[-1]
    assert isinstance(failure, Failure)
    assert failure.code == 1007


# Where it stops


@pytest.mark.parametrize("limit", [1, 1000, 2**14 - 1, 2**14, 2**14 + 1, 2**16, 100_000])
@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize("role", ["client", "server"])
def test_message_is_exact_up_to_the_limit_and_refused_beyond(limit: int, parts: int, role: Role) -> None:
    for beyond in (-1, 0, 1, 2, 65536):
        for noise in (bytes(limit + beyond), random.Random(5).randbytes(limit + beyond)):
            data = Half().compress(noise)
            edges = [len(data) * part // parts for part in range(parts + 1)]
            ours = protocol(role, max_size=limit)
            events: list[Event] = []
            for index, (start, end) in enumerate(pairwise(edges), 1):
                opcode, rsv = (BINARY, 4) if index == 1 else (CONTINUATION, 0)
                fragment = frame(opcode, data[start:end], fin=index == parts, rsv=rsv, mask=role == "server")
                events += ours.feed(fragment)
                while ours.pending:
                    events += ours.feed(b"")
            if beyond <= 0:
                assert whole(events) == noise
            else:
                failure = events[-1]
                assert isinstance(failure, Failure)
                assert failure.code == 1009
                assert failure.reason == f"message over the limit of {limit} bytes"


def test_compressed_frame_that_no_message_within_the_limit_needs_is_refused_from_its_header() -> None:
    for size in (2**30, 2**62, 2 * 1000 + 17):
        header = bytes([0xC2, 0xFF]) + size.to_bytes(8) if size > 2**16 else bytes([0xC2, 0xFE]) + size.to_bytes(2)
        (failure,) = protocol().feed(header)
        assert isinstance(failure, Failure)
        assert failure.code == 1009
    assert protocol().feed(bytes([0xC2, 0xFE]) + (2 * 1000 + 16).to_bytes(2)) == []


@pytest.mark.parametrize("size", [1, 50, 2000])
def test_message_within_the_limit_may_come_in_fragments_of_one_byte(size: int) -> None:
    """Each of ours is flushed, and becomes eight bytes."""
    text = "".join(random.Random(9).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))
    ours, peer = protocol("client"), protocol("server", max_size=size, max_fragments=size + 1)
    events = [event for char in text for event in peer.feed(ours.message(char, finished=False))]
    events += peer.feed(ours.message("", finished=True))
    assert whole(events) == text


def test_read_that_inflates_to_many_messages_is_taken_in_batches() -> None:
    message = Half().compress(bytes(2**20))
    ours = protocol(max_size=2**20, answer="permessage-deflate; client_no_context_takeover")
    data = frame(BINARY, message, rsv=4) * 20
    assert len(data) < 2**16
    sizes, batch = [], ours.feed(data)
    while ours.pending:
        sizes.append(sum(len(event.data if isinstance(event, Piece) else event) for event in batch))  # type: ignore[arg-type]
        batch = ours.feed(b"")
    assert max(sizes) <= 2**16 + 2**14
    assert sum(sizes) == 20 * 2**20
    assert batch == []
    assert ours.feed(frame(TEXT, b"the end")) == ["the end"]


@pytest.mark.parametrize(
    ("settings", "kib"),
    [(Deflate(), 32 + 11), (Deflate(server_max_window_bits=15, client_max_window_bits=15, mem_level=8), 256 + 39)],
)
def test_memory_is_what_the_documentation_says(settings: Deflate, kib: int) -> None:
    answer = answer_offers(["permessage-deflate; client_max_window_bits"], settings)
    assert answer is not None
    peer = protocol("client", answer, settings, max_size=2**17)
    message = peer.message(random.Random(7).randbytes(2**16))
    tracemalloc.start()
    try:
        ours = protocol("server", answer, settings, max_size=2**17)
        assert whole(ours.feed(message))
        ours.message("x" * 1000)
        used = tracemalloc.get_traced_memory()[0] / 1024
    finally:
        tracemalloc.stop()
    assert kib < used < kib + 12  # and some small objects
    assert ours.open


def test_extension_negotiates_nothing_through_wsproto() -> None:
    deflate = deflate_agreed_in(["permessage-deflate"], "server", Deflate(), None)
    assert deflate is not None
    assert deflate.offer() is False


def test_nothing_of_zlib_is_there_before_it_is_needed() -> None:
    def made(count: int) -> int:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            protocols = [make() for _ in range(count)]
            return (tracemalloc.get_traced_memory()[0] - before) // len(protocols)
        finally:
            tracemalloc.stop()

    make = protocol
    with_compression = made(100)
    make = lambda: Protocol("server", max_size=1000, max_fragments=100)  # noqa: E731
    assert with_compression - made(100) < 1000
