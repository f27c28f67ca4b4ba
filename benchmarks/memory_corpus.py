"""What connections talk about, for the memory page: small JSON documents, the same in every run.

Chat, prices and telemetry, since they differ in how much repeats from one message to the next. A connection has one
of these subjects, as real ones have.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from .corpus import NAMES, WORDS, document

__all__ = ["SUBJECTS", "conversation"]

#: What is drawn at random comes from here, so that every run has the same documents.
_SEED = 7692


def conversation(subject: str, count: int) -> list[str]:
    """So many messages of one connection, 100 to 400 bytes each."""
    dice = random.Random(f"{_SEED} {subject}")
    return [json.dumps(SUBJECTS[subject](dice, number), ensure_ascii=False) for number in range(count)]


def _chat(dice: random.Random, number: int) -> dict[str, object]:
    message = document(dice, number)
    if dice.random() < 0.2:
        message["reply_to"] = {"id": 1_000_000 + dice.randrange(number + 1), "author": dice.choice(NAMES)}
        message["text"] = " ".join(dice.choices(WORDS, k=dice.randint(1, 24)))
    return message


def _prices(dice: random.Random, number: int) -> dict[str, object]:
    symbol = dice.choice(["BTC-EUR", "ETH-EUR", "EUR-USD", "XAU-USD", "AAPL", "MSFT", "SAP"])
    price = dice.uniform(90, 110)
    levels = [[f"{price - 0.01 * step:.2f}", f"{dice.uniform(0, 5):.4f}"] for step in range(1, 4)]
    return {
        "type": "ticker",
        "sequence": 88_000_000 + number,
        "symbol": symbol,
        "price": f"{price:.2f}",
        "bids": levels,
    }


def _telemetry(dice: random.Random, number: int) -> dict[str, object]:
    return {
        "device": f"pump-{dice.randint(1, 12):03}",
        "at": 1_790_000_000 + 5 * number,
        "temperature_celsius": round(dice.gauss(61, 3), 2),
        "pressure_bar": round(dice.gauss(4.2, 0.1), 3),
        "flow_litres_per_minute": round(dice.gauss(120, 8), 1),
        "vibration": [round(dice.gauss(0, 1), 3) for _ in range(6)],
        "state": dice.choices(["running", "starting", "stopped", "fault"], [90, 4, 4, 2])[0],
    }


SUBJECTS: dict[str, Callable[[random.Random, int], dict[str, object]]] = {
    "chat": _chat,
    "prices": _prices,
    "telemetry": _telemetry,
}
