"""The demo's requests and the moments at which they arrive. Pure."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

BURST_RPS: Final = 8.0
CALM_RPS: Final = 1.5
PHASE_S: Final = 4.0
SEED: Final = 7


class Prompt(Struct, kw_only=True, frozen=True):
    """One chat prompt: who asks, how urgent it is, and how long the answer may be in tokens."""

    tenant: str
    latency_class: str = msgspec.field(name="class")
    prompt: str
    max_tokens: int


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a JSONL file, in its order."""
    return [msgspec.json.decode(line, type=Prompt) for line in path.read_bytes().splitlines() if line.strip()]


def bursty_arrivals(count: int, *, seed: int = SEED) -> Iterator[float]:
    """`count` arrival times in seconds from 0, not decreasing: Poisson, four seconds busy and four calm in turn.

    Source: a two-state Markov-modulated Poisson process with fixed sojourn times; the rates are the module's constants.
    """
    rng = random.Random(seed)
    at_s = 0.0
    for _ in range(count):
        is_burst = int(at_s / PHASE_S) % 2 == 0
        at_s += rng.expovariate(BURST_RPS if is_burst else CALM_RPS)
        yield at_s
