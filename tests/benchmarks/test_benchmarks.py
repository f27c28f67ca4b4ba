"""The benchmarks count what they say they count, and measure no server that answers wrongly."""

from __future__ import annotations

import itertools
import socket
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmarks run on Linux only", allow_module_level=True)

from benchmarks import corpus, frames, page
from benchmarks.connecting import connect, hang_up
from benchmarks.conversation import Compressed, Repeated, WrongReply
from benchmarks.load import FanOut, Load
from benchmarks.measure import echoes
from benchmarks.process import Server
from benchmarks.raw_echo import echo_until_closed
from benchmarks.results import Results, about, deviation, load, ratios, verdict
from benchmarks.servers.settings import Settings
from benchmarks.table import number, one_work, table
from benchmarks.works import COMPRESS, LIBRARIES, PLAIN, WORKS
from tests.raw import frames as parse

MESSAGE = frames.payload_of(64)
OUTGOING = frames.frame(frames.BINARY, MESSAGE, mask=True)
REPLY = frames.frame(frames.BINARY, MESSAGE, mask=False)
DOCS = Path(__file__).parent.parent.parent / "docs"


# The bytes


@pytest.mark.parametrize("size", [0, 1, 64, 125, 126, 2**16 - 1, 2**16])
def test_frames_are_those_of_the_protocol(size: int) -> None:
    payload = frames.payload_of(size)
    for mask in (True, False):
        (parsed,) = parse(frames.frame(frames.BINARY, payload, mask=mask))
        assert (parsed.opcode, parsed.payload, parsed.masked, parsed.fin) == (frames.BINARY, payload, mask, True)


def test_fragments_are_one_message() -> None:
    parsed = list(parse(frames.fragmented(frames.BINARY, MESSAGE, 10)))
    assert b"".join(one.payload for one in parsed) == MESSAGE
    assert [one.opcode for one in parsed] == [frames.BINARY] + [frames.CONTINUATION] * 9
    assert [one.fin for one in parsed] == [False] * 9 + [True]


def test_documents_are_the_same_each_time_and_about_200_bytes() -> None:
    texts = corpus.documents(100)
    assert texts == corpus.documents(100)
    assert 190 < sum(map(len, texts)) / len(texts) < 210


def test_compressed_texts_can_be_sent_over_and_over() -> None:
    texts = corpus.documents(50)
    inflate = zlib.decompressobj(wbits=-12)
    for _ in range(3):
        sent = parse(b"".join(corpus.compressed_frames(texts)))
        assert [inflate.decompress(one.payload + b"\0\0\xff\xff") for one in sent] == texts


# The load generator

Answer = Callable[[bytes], bytes]


@contextmanager
def answering(*answers: Answer) -> Iterator[list[socket.socket]]:
    """Sockets that are connected to a thread each, which sends back what ``answer`` makes of what it reads."""
    pairs = [socket.socketpair() for _ in answers]
    threads = [
        threading.Thread(target=serve, args=(pair[1], answer)) for pair, answer in zip(pairs, answers, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield [ours for ours, _ in pairs]
    finally:
        for ours, _ in pairs:
            ours.close()
        for thread in threads:
            thread.join()


def serve(sock: socket.socket, answer: Answer) -> None:
    with sock, suppress(OSError):
        while data := sock.recv(2**20):
            sock.sendall(answer(data))


def echo(data: bytes) -> bytes:
    """What a server that echoes makes of frames with :data:`MESSAGE`."""
    return REPLY * (len(data) // len(OUTGOING))


def test_load_counts_messages_and_bursts() -> None:
    with answering(echo, echo) as socks:
        sample = Load(socks, [Repeated(OUTGOING * 8, REPLY * 8, 8) for _ in socks]).run(0)
    assert (sample.messages, len(sample.latencies)) == (16, 2)


def test_load_sends_messages_larger_than_the_sockets_buffers() -> None:
    size = 2**22
    with answering(lambda data: data) as socks:
        sample = Load(socks, [Repeated(bytes(size), bytes(size), 1)]).run(0)
    assert sample.messages == 1


def test_reply_may_come_in_pieces() -> None:
    conversation = Repeated(OUTGOING, REPLY, 1)
    for _ in range(2):
        taken = [conversation.take(memoryview(REPLY)[index : index + 1]) for index in range(len(REPLY))]
        assert taken == [False] * (len(REPLY) - 1) + [True]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda data: OUTGOING, "not what was sent|too many"),
        (lambda data: REPLY[:-1] + b"!", "not what was sent"),
        (lambda data: REPLY * 2, "66 bytes too many"),
    ],
    ids=["masked", "altered", "doubled"],
)
def test_wrong_echo_is_refused(answer: Answer, complaint: str) -> None:
    with answering(answer) as socks, pytest.raises(WrongReply, match=complaint):
        Load(socks, [Repeated(OUTGOING, REPLY, 1)]).run(0)


def test_server_that_closes_is_refused() -> None:
    ours, theirs = socket.socketpair()
    theirs.shutdown(socket.SHUT_WR)
    with ours, theirs, pytest.raises(WrongReply, match="closed"):
        Load([ours], [Repeated(OUTGOING, REPLY, 1)]).run(0)


def deflating_echo(texts: list[bytes]) -> Iterator[bytes]:
    """The replies of a server that keeps its context, however its messages are cut."""
    deflate = zlib.compressobj(wbits=-15)
    for text in itertools.cycle(texts):
        payload = (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
        yield frames.frame(frames.TEXT, payload, mask=False, compressed=True)


def test_compressed_replies_are_counted_by_frames() -> None:
    texts = corpus.documents(4)
    conversation = Compressed(texts, corpus.compressed_frames(texts), 2)
    replies = deflating_echo(texts)
    sent = []
    for _ in range(3):
        sent.append(conversation.outgoing)
        reply = next(replies) + next(replies)
        assert [conversation.take(memoryview(part)) for part in (reply[:-1], reply[-1:])] == [False, True]
    assert sent[0] != sent[1]
    assert sent[0] == sent[2]


def test_wrong_compressed_echo_is_refused() -> None:
    texts = corpus.documents(2)
    conversation = Compressed(texts, corpus.compressed_frames(texts), 1)
    with pytest.raises(WrongReply):
        conversation.take(memoryview(next(deflating_echo(texts[1:]))))


def test_fan_out_counts_deliveries() -> None:
    with answering(*[echo] * 3) as socks:
        # These sockets do not know each other: the listeners hear something because they say something first.
        for sock in socks[1:]:
            sock.sendall(OUTGOING)
        sample = FanOut(socks, [Repeated(OUTGOING, REPLY, 1) for _ in socks]).run(0)
    assert (sample.messages, len(sample.latencies)) == (3, 1)


def test_raw_echo_answers_each_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=echo_until_closed, args=(listener, MESSAGE))
        thread.start()
        socks = connect(listener.getsockname()[1], 1)
        sample = Load(socks, [Repeated(OUTGOING * 3, REPLY * 3, 3)]).run(0)
        hang_up(socks)
        thread.join()
    assert sample.messages == 3


# What is made of the figures


def results_of(**costs: list[float]) -> Results:
    """As if every work had been measured with these CPU times."""
    results = Results(about(rounds=3, seconds=0.5))
    for work in WORKS.values():
        for library, values in costs.items():
            for value in values:
                keys = ("cpu_us", "kib", "alone_us", "p50_us", "p99_us", "per_second", "generator_us")
                results.add(work.name, library, dict.fromkeys(keys, value))
    return results


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([1, 20], [2, 10]) == [0.5, 2]


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(0.5, "ahead of"), (0.96, "level with"), (1, "level with"), (1.04, "level with"), (1.1, "behind")],
)
def test_who_costs_less_is_said_only_beyond_noise(ratio: float, said: str) -> None:
    assert verdict(ratio) == said


def test_deviation_is_half_of_the_spread() -> None:
    assert deviation([90, 100, 110]) == pytest.approx(0.1)


@pytest.mark.parametrize(("value", "text"), [(0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")])
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_table_is_markdown() -> None:
    assert table(["", "a"], [["x", "1"]]) == "|  | a |\n| --- | --: |\n| x | 1 |"


def test_table_of_a_work_has_medians_and_ratios() -> None:
    results = results_of(trio_ws=[10, 20, 30], picows=[10, 10, 10])
    assert "| picows | 10.0 |" in one_work(results, WORKS["small-1x1"])
    assert one_work(results, WORKS["small-1x1"]).endswith("| 0% | 2.00 |")


def test_page_says_where_trio_ws_is_behind() -> None:
    text = page.render(results_of(trio_ws=[10, 20, 30], picows=[5, 10, 15], aiohttp=[20, 40, 60]))
    behind = text.split("## Where trio_ws is behind")[1].split("\n## ")[0]
    assert "- **64 B, 1 client, 1 in flight**: picows (2.00)." in behind
    assert "aiohttp" not in behind


def test_page_says_so_if_trio_ws_is_behind_nowhere() -> None:
    assert "In none of the works" in page.render(results_of(trio_ws=[10], trio_tcp=[5], picows=[20]))


def test_page_says_what_failed() -> None:
    results = results_of(trio_ws=[10], aiohttp=[10])
    results.fail("crowd", "aiohttp", "OSError: no")
    assert "- aiohttp, 100 clients talk among 10,000: OSError: no" in page.render(results)
    assert "| aiohttp |" not in one_work(results, WORKS["crowd"])


def test_results_survive_a_file(tmp_path: Path) -> None:
    results = results_of(trio_ws=[1, 2])
    results.save(tmp_path / "figures.json")
    assert load(tmp_path / "figures.json") == results


def test_page_in_the_documentation_is_what_its_figures_say() -> None:
    assert (DOCS / "performance.md").read_text() == page.render(load(DOCS / "_static" / "performance.json"))


# Real servers


@pytest.mark.parametrize("library", ["trio_ws", "trio_ws_pure", "trio_tcp"])
def test_echoes_of_a_server_are_measured(library: str) -> None:
    with Server(library, PLAIN) as server:
        found: dict[str, Any] = echoes(64, clients=2, in_flight=4)(server, 0.05)
    assert found["cpu_us"] > 0
    assert found["per_second"] > 0
    assert found["p50_us"] <= found["p99_us"]


def test_arguments_of_a_server_are_its_settings() -> None:
    assert Settings(fanout=True, deflate=False, keepalive=True).arguments() == ["--fanout", "--keepalive"]


def test_every_library_has_a_server() -> None:
    servers = {
        path.stem.removesuffix("_server") for path in (Path(page.__file__).parent / "servers").glob("*_server.py")
    }
    assert servers == set(LIBRARIES)
    assert set(COMPRESS) < servers
