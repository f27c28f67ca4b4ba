"""Small JSON documents such as a feed sends, the same in every run: about 200 bytes each."""

from __future__ import annotations

import json
import random
import zlib

from . import frames

NAMES = ["Ada", "Barbara", "Edsger", "Grace", "Ken", "Leslie", "Margaret", "Niklaus", "Radia", "Tony"]
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dogs",
    "while",
    "five",
    "boxing",
    "wizards",
    "look",
    "on",
]


def documents(count: int) -> list[bytes]:
    dice = random.Random(6455)
    return [json.dumps(document(dice, number)).encode() for number in range(count)]


def document(dice: random.Random, number: int) -> dict[str, object]:
    return {
        "type": dice.choice(["message", "edit", "reaction"]),
        "id": 1_000_000 + number,
        "channel": dice.choice(["general", "random", "help", "releases"]),
        "author": {"name": dice.choice(NAMES), "id": f"{dice.getrandbits(64):016x}"},
        "sent_at": f"2026-11-{dice.randint(1, 28):02}T{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:00Z",
        "text": " ".join(dice.choices(WORDS, k=8)),
    }


def compressed_frames(texts: list[bytes], window_bits: int = 12) -> list[bytes]:
    """The texts as compressed frames of a client that keeps its context, to be sent over and over in this order.

    The last one ends with a full flush. After that nothing refers back, so that the first one can follow again, and
    every server gets the same bytes. All servers here take a window of 12 bits.
    """
    deflate = zlib.compressobj(wbits=-window_bits)
    flushes = [zlib.Z_SYNC_FLUSH] * (len(texts) - 1) + [zlib.Z_FULL_FLUSH]
    payloads = [deflate.compress(text) + deflate.flush(flush) for text, flush in zip(texts, flushes, strict=True)]
    # RFC 7692 §7.2.1: the four bytes that a flush ends with are left out.
    return [frames.frame(frames.TEXT, payload[:-4], mask=True, compressed=True) for payload in payloads]
