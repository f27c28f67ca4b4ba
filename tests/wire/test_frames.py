"""The arithmetic of frames: in Python, in C, and as RFC 6455 §5.2 and §5.3 have it, byte by byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trio_ws
from tests.fuzz.speedups import mask_slowly, split_slowly
from tests.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame
from trio_ws._wire.frames import accelerated, mask, mask_in_python, split, split_in_python

Mask = Callable[[bytes | bytearray | memoryview, bytes, int], bytes]
Split = Callable[[bytes | bytearray, int, bool, int, int], tuple[list[str | bytes], int]]

# In pure mode both are the same; test_the_twins_in_c_are_in_use_where_they_can_be says when that may be.
EITHER_MASK = pytest.mark.parametrize("mask", [mask_in_python, mask], ids=["python", "active"])
EITHER_SPLIT = pytest.mark.parametrize("split", [split_in_python, split], ids=["python", "active"])

KEY = b"\x37\xfa\x21\x3d"  # the example of RFC 6455 §5.7
NO_LIMIT = 2**63 - 1


def spread(size: int) -> bytes:
    """So many bytes, of which no four are like the next four."""
    return bytes(index * 7 + index // 256 & 0xFF for index in range(size))


def in_new_python(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TRIO_WS_PURE_PYTHON"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.strip()


# ---- Which of the two is active.


def test_the_twins_in_c_are_in_use_where_they_can_be() -> None:
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    header = Path(sysconfig.get_path("include"), "Python.h")
    free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")  # has no stable ABI
    can_be_built = shutil.which(compiler.split()[0]) is not None and header.exists() and not free_threaded
    if os.environ.get("TRIO_WS_PURE_PYTHON"):
        assert not accelerated
    elif can_be_built:
        assert accelerated, "build the extension with `pip install -e .`, or set TRIO_WS_PURE_PYTHON=1"


def test_accelerated_says_what_is_active() -> None:
    assert trio_ws.accelerated is accelerated
    assert (mask is not mask_in_python) is accelerated
    assert (split is not split_in_python) is accelerated


def test_the_environment_can_ask_for_pure_python() -> None:
    code = "import trio_ws; print(trio_ws.accelerated)"
    assert in_new_python(code, TRIO_WS_PURE_PYTHON="1") == "False"
    assert in_new_python(code, TRIO_WS_PURE_PYTHON="") == in_new_python(code)


def test_without_the_extension_python_takes_its_place() -> None:
    code = "import sys; sys.modules['trio_ws._wire._speedups'] = None; import trio_ws; print(trio_ws.accelerated)"
    assert in_new_python(code) == "False"


# ---- Masking.


@EITHER_MASK
def test_masking_is_that_of_the_rfc(mask: Mask) -> None:
    assert mask(b"Hello", KEY, 0).hex() == "7f9f4d5158"  # §5.7


@EITHER_MASK
def test_every_length_is_masked_at_every_offset_and_address(mask: Mask) -> None:
    data = spread(1024 + 16)
    for size in [*range(301), *range(1020, 1030)]:
        for shift in range(8):
            piece = memoryview(data)[shift : shift + size]
            for offset in range(4):
                assert mask(piece, KEY, offset) == mask_slowly(bytes(piece), KEY, offset)


@EITHER_MASK
@given(data=st.binary(max_size=3000), key=st.binary(min_size=4, max_size=4), offset=st.integers(-(2**70), 2**70))
def test_masking_agrees_with_the_slow_way(mask: Mask, data: bytes, key: bytes, offset: int) -> None:
    masked = mask(data, key, offset)
    assert masked == mask_slowly(data, key, offset)
    assert mask(bytearray(masked), key, offset) == data


@EITHER_MASK
@pytest.mark.parametrize("size", [65535, 65536, 2**20 + 3])
def test_large_data_is_masked_in_one_go_as_in_parts(mask: Mask, size: int) -> None:
    data = spread(size)
    middle = size // 3
    assert mask(data[:middle], KEY, 0) + mask(data[middle:], KEY, middle) == mask(data, KEY, 0)
    assert mask(mask(data, KEY, 1), KEY, 1) == data


@EITHER_MASK
def test_items_of_any_size_are_masked_as_the_bytes_they_are(mask: Mask) -> None:
    words = memoryview(spread(4000)).cast("I")
    assert mask(words, KEY, 0) == mask_slowly(spread(4000), KEY, 0)


@EITHER_MASK
def test_masking_leaves_its_input_as_it_was(mask: Mask) -> None:
    data = bytearray(spread(2000))
    mask(data, KEY, 0)
    assert data == spread(2000)
    data.append(0)  # nobody holds the buffer any longer


@EITHER_MASK
@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_a_key_has_four_bytes(mask: Mask, key: bytes) -> None:
    with pytest.raises(ValueError, match=f"^a masking key has 4 bytes, not {len(key)}$"):
        mask(b"x", key, 0)


@EITHER_MASK
def test_data_in_more_than_one_piece_is_refused(mask: Mask) -> None:
    with pytest.raises(BufferError, match=r"^memoryview: underlying buffer is not C-contiguous"):
        mask(memoryview(b"a-b-c-")[::2], KEY, 0)


@EITHER_MASK
@pytest.mark.parametrize("arguments", [("text", KEY, 0), (5, KEY, 0), ([1], KEY, 0), (b"x", 5, 0), (b"x", KEY, 1.5)])
def test_masking_refuses_what_is_of_another_type(mask: Mask, arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        mask(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_another_number_of_arguments_is_a_type_error(count: int) -> None:
    functions: list[Callable[..., object]] = [mask_in_python, mask, split_in_python, split]
    for function in functions:
        with pytest.raises(TypeError, match="positional argument"):
            function(*[b"0000"] * count)


def test_the_offset_is_0_unless_it_is_given() -> None:
    assert mask(b"Hello", KEY) == mask_in_python(b"Hello", KEY) == mask(b"Hello", KEY, 0)


# ---- Splitting.

near_frames = st.one_of(
    st.builds(
        frame,
        st.sampled_from([TEXT, BINARY]),
        st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.binary(min_size=120, max_size=130)),
        mask=st.booleans(),
    ),
    st.builds(
        frame,
        st.sampled_from([TEXT, BINARY, CONTINUATION, CLOSE, PING]),
        st.binary(max_size=40),
        fin=st.booleans(),
        mask=st.booleans(),
        rsv=st.integers(0, 7),
    ),
    st.binary(max_size=12),
)


@EITHER_SPLIT
@settings(max_examples=500)
@given(
    wire=st.lists(near_frames, max_size=6).map(b"".join),
    cut=st.integers(0, 20),
    start=st.integers(0, 8),
    masked=st.booleans(),
    max_size=st.one_of(st.integers(-1, 130), st.just(NO_LIMIT), st.just(2**80), st.just(-(2**80))),
    most=st.one_of(st.integers(-1, 5), st.just(2**80)),
)
def test_splitting_agrees_with_the_slow_way(
    split: Split, wire: bytes, cut: int, start: int, masked: bool, max_size: int, most: int
) -> None:
    wire = wire[: max(0, len(wire) - cut)]
    expected = split_slowly(wire, start, masked, max_size, most)
    assert split(wire, start, masked, max_size, most) == expected
    assert split(bytearray(wire), start, masked, max_size, most) == expected


@EITHER_SPLIT
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1023, 1024, 1025, 65535, 65536, 65537])
def test_messages_of_every_form_of_length_are_taken(split: Split, masked: bool, size: int) -> None:
    data = spread(size)
    text = "".join(chr(0x20 + byte % 95) for byte in data)
    wire = b"?" + frame(BINARY, data, mask=masked) + frame(TEXT, text.encode(), mask=masked)
    for kind in (bytes, bytearray):
        messages, stop = split(kind(wire), 1, masked, size, 2)
        assert (messages, stop) == ([data, text], len(wire))
        assert [type(message) for message in messages] == [bytes, str]
        assert split(kind(wire), 1, masked, size - 1, 2) == ([], 1)


@EITHER_SPLIT
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("payload", [b"", b"x" * 5, b"x" * 126, b"x" * 65536])
def test_a_frame_that_is_not_there_completely_stays(split: Split, masked: bool, payload: bytes) -> None:
    first, second = frame(TEXT, b"first", mask=masked), frame(TEXT, payload, mask=masked)
    for missing in [*range(1, min(30, len(second))), len(second) - 1, len(second)]:
        wire = first + second[: len(second) - missing]
        assert split(wire, 0, masked, NO_LIMIT, 9) == (["first"], len(first))


@EITHER_SPLIT
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("opcode", "how"),
    [
        *[(opcode, {}) for opcode in range(16) if opcode not in (TEXT, BINARY)],
        *[(TEXT, {"rsv": rsv}) for rsv in range(1, 8)],
        (TEXT, {"fin": False}),
        (BINARY, {"fin": False}),
    ],
)
def test_it_stops_in_front_of_a_frame_that_is_not_plain(
    split: Split, masked: bool, opcode: int, how: dict[str, int]
) -> None:
    first, last = frame(BINARY, b"first", mask=masked), frame(BINARY, b"last", mask=masked)
    other = frame(opcode, b"other", mask=masked, **how)  # type: ignore[arg-type]
    assert split(first + other + last, 0, masked, NO_LIMIT, 9) == ([b"first"], len(first))


@EITHER_SPLIT
@pytest.mark.parametrize("size", [0, 5, 126, 127, 65536])
@pytest.mark.parametrize("masked", [True, False])
def test_it_stops_in_front_of_a_frame_with_the_wrong_mask_bit(split: Split, masked: bool, size: int) -> None:
    first, other = frame(BINARY, b"first", mask=masked), frame(BINARY, b"x" * size, mask=not masked)
    assert split(first + other + b"0000", 0, masked, NO_LIMIT, 9) == ([b"first"], len(first))


@EITHER_SPLIT
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("second", "length"),
    [(126, (0).to_bytes(2)), (126, (125).to_bytes(2)), (127, (0).to_bytes(8)), (127, (65535).to_bytes(8))],
)
def test_it_stops_in_front_of_a_length_that_is_not_in_its_shortest_form(
    split: Split, masked: bool, second: int, length: bytes
) -> None:
    header = bytes([0x82, masked << 7 | second]) + length + (KEY if masked else b"")
    assert split(header + bytes(70_000), 0, masked, NO_LIMIT, 9) == ([], 0)


@EITHER_SPLIT
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", [2**31, 2**32, 2**63 - 1, 2**63 - 14, 2**63, 2**64 - 1, 2**64 - 14])
def test_it_stops_in_front_of_a_length_that_nobody_can_send(split: Split, masked: bool, length: int) -> None:
    header = bytes([0x82, masked << 7 | 127]) + length.to_bytes(8) + (KEY if masked else b"")
    assert split(header + b"x" * 20, 0, masked, NO_LIMIT, 9) == ([], 0)


@EITHER_SPLIT
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("filling", [0, 2000])
@pytest.mark.parametrize("wrong", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_it_stops_in_front_of_a_text_that_is_not_utf8(split: Split, masked: bool, filling: int, wrong: bytes) -> None:
    first = frame(TEXT, "é€🎉".encode(), mask=masked)
    wire = first + frame(TEXT, b"x" * filling + wrong, mask=masked)
    assert split(wire, 0, masked, NO_LIMIT, 9) == (["é€🎉"], len(first))


@EITHER_SPLIT
@pytest.mark.parametrize("most", [-1, 0, 1, 3, 4, 5])
def test_at_most_so_many_are_taken(split: Split, most: int) -> None:
    one = frame(BINARY, b"x" * 64)
    taken = max(0, min(most, 4))
    assert split(one * 4, 0, True, NO_LIMIT, most) == ([b"x" * 64] * taken, len(one) * taken)


@EITHER_SPLIT
@pytest.mark.parametrize("start", [0, 1, 2, 3, 2**31, 2**63, 2**80])
def test_behind_the_end_there_is_nothing(split: Split, start: int) -> None:
    assert split(b"\x82"[:start], start, True, NO_LIMIT, 9) == ([], start)


@EITHER_SPLIT
@pytest.mark.parametrize("start", [-1, -(2**80)])
def test_a_start_in_front_of_the_data_is_refused(split: Split, start: int) -> None:
    with pytest.raises(ValueError, match=f"^a frame cannot begin at {start}$"):
        split(frame(BINARY, b"x"), start, True, NO_LIMIT, 9)


@EITHER_SPLIT
def test_messages_do_not_hold_the_buffer_they_came_from(split: Split) -> None:
    buffer = bytearray(frame(BINARY, spread(100), mask=False) + frame(TEXT, b"text", mask=False))
    messages, stop = split(buffer, 0, False, NO_LIMIT, 9)
    del buffer[:stop]
    assert messages == [spread(100), "text"]


@EITHER_SPLIT
@pytest.mark.parametrize("arguments", [(5, 0), (b"\x82\x80", None), (b"\x82\x80", "0")])
def test_splitting_refuses_what_is_of_another_type(split: Split, arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        split(*arguments, True, NO_LIMIT, 9)  # type: ignore[arg-type]
