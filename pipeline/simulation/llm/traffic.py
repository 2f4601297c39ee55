"""Requests of a simulated day: when they come, how long prompts and answers are, and what became of each."""

import dataclasses
from typing import Final

import msgspec
import numpy as np

from pipeline.simulation.arrivals import SHAPES, Shape
from processors.admission.estimates import CHARS_PER_TOKEN, TEMPLATE_TOKENS
from processors.policy import ClassPolicy

INTERACTIVE: Final = "interactive"
BULK: Final = "bulk"
CLASSES: Final = {
    "realtime": ClassPolicy(priority=0, deadline_ms=600_000, queue_limit=1_000_000, ttft_ms=400, tpot_ms=30),
    INTERACTIVE: ClassPolicy(priority=1, deadline_ms=600_000, queue_limit=1_000_000, ttft_ms=1000, tpot_ms=50),
    "standard": ClassPolicy(priority=2, deadline_ms=600_000, queue_limit=1_000_000, ttft_ms=5000, tpot_ms=100),
    BULK: ClassPolicy(priority=3, deadline_ms=600_000, queue_limit=1_000_000, yields=True),
}
"""Deadlines are beyond the end of every run: what ends a request is its SLO, or the way of batching."""

NO_PREFIX: Final = -1


@dataclasses.dataclass(slots=True, eq=False)
class SimRequest:
    """A request and its story. Times in seconds from the beginning, None for what did not happen.

    `prefix` names the shared beginning that its first `prefix_tokens` are, -1 for none. `cached_tokens` of them the
    replica had computed before. Of those that were turned away, some were refused on arrival.
    """

    index: int
    at_s: float
    prompt_tokens: int
    answer_tokens: int
    latency_class: str = INTERACTIVE
    tenant: str = "default"
    prefix: int = NO_PREFIX
    prefix_tokens: int = 0
    cached_tokens: int = 0
    dispatched_s: float | None = None
    received_s: float = 0.0
    first_s: float | None = None
    ended_s: float | None = None
    turned_away_s: float | None = None
    was_refused: bool = False

    @property
    def first_token_s(self) -> float | None:
        """Time to first token."""
        return None if self.first_s is None else self.first_s - self.at_s

    @property
    def token_s(self) -> float | None:
        """Time per token after the first; None where there is none or it has not ended."""
        if self.first_s is None or self.ended_s is None or self.answer_tokens <= 1:
            return None
        return (self.ended_s - self.first_s) / (self.answer_tokens - 1)

    @property
    def is_good(self) -> bool:
        """Answered within the SLO of its class."""
        if self.first_s is None or self.ended_s is None:
            return False
        rules = CLASSES[self.latency_class]
        if rules.ttft_ms is None or rules.tpot_ms is None:
            return self.ended_s - self.at_s <= rules.deadline_ms / 1000
        token_s = self.token_s
        return self.first_s - self.at_s <= rules.ttft_ms / 1000 and (token_s is None or token_s <= rules.tpot_ms / 1000)

    def body(self) -> msgspec.Raw:
        """As a client would send it: as many characters as its prompt has tokens, its beginning shared or its own."""
        length = max(1, (self.prompt_tokens - TEMPLATE_TOKENS) * CHARS_PER_TOKEN)
        if self.prefix == NO_PREFIX:
            text = f"{self.index:08d}".ljust(length, "x")[:length]
        else:
            text = (prefix_text(self.prefix, self.prefix_tokens) + f"{self.index:08d}").ljust(length, "x")[:length]
        return msgspec.Raw(b'{"prompt":"' + text.encode() + b'"}')


def prefix_text(prefix: int, tokens: int) -> str:
    """The text of a shared beginning."""
    return f"{prefix:06d}:".ljust(tokens * CHARS_PER_TOKEN, "s")


def requests(
    shape: Shape,
    rate_per_s: float,
    duration_s: float,
    seed: int,
    *,
    prompt_median: float = 400.0,
    prompt_sigma: float = 0.9,
    answer_median: float = 150.0,
    answer_sigma: float = 0.8,
    latency_class: str = INTERACTIVE,
) -> list[SimRequest]:
    """Requests with log-normal lengths: prompts of 16 to 8000 tokens, answers of 4 to 2000."""
    rng = np.random.default_rng(seed)
    times = SHAPES[shape](rng, rate_per_s, duration_s)
    prompts = np.clip(rng.lognormal(np.log(prompt_median), prompt_sigma, len(times)), 16, 8000).astype(int)
    answers = np.clip(rng.lognormal(np.log(answer_median), answer_sigma, len(times)), 4, 2000).astype(int)
    return [
        SimRequest(index, float(at_s), int(prompt), int(answer), latency_class)
        for index, (at_s, prompt, answer) in enumerate(zip(times, prompts, answers, strict=True))
    ]
