"""Requests of a simulated day: when they come, how long prompts and answers are, and what became of each."""

import dataclasses
from typing import Final

import msgspec
import numpy as np

from pipeline.simulation.arrivals import SHAPES, Shape
from pipeline.simulation.traces import BLOCK_TOKENS
from processors.admission.estimates import CHARS_PER_TOKEN, TEMPLATE_TOKENS
from processors.policy import ClassPolicy
from topics.bodies import COMPLETIONS, decode_body
from topics.prefixes import MAX_BLOCKS, PREFIX_CHARS, prefix_hashes

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
_BLOCK_CHARS: Final = BLOCK_TOKENS * CHARS_PER_TOKEN
_HASHED_CHARS: Final = MAX_BLOCKS * PREFIX_CHARS
"""What follows in a prompt is in none of its hashes."""


@dataclasses.dataclass(slots=True, eq=False)
class SimRequest:
    """A request and its story. Times in seconds from the beginning, None for what did not happen.

    What it shares with others is either `prefix`, which names the beginning that its first `prefix_tokens` are (-1 for
    none), or `blocks`, the ids of its whole blocks as `pipeline.simulation.traces` has them. `cached_tokens` of it the
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
    blocks: tuple[int, ...] = ()
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

    def keeps(self, rules: ClassPolicy) -> bool:
        """Whether it was answered within the SLO of its class, or within its deadline where it has none."""
        if self.first_s is None or self.ended_s is None:
            return False
        if rules.ttft_ms is None:
            return self.ended_s - self.at_s <= rules.target_ms / 1000
        token_s = self.token_s
        keeps_pace = rules.tpot_ms is None or token_s is None or token_s <= rules.tpot_ms / 1000
        return self.first_s - self.at_s <= rules.ttft_ms / 1000 and keeps_pace

    def body(self) -> msgspec.Raw:
        """As a client would send it: as many characters as its prompt has tokens, its beginning shared or its own."""
        return _body(self._text(max(1, (self.prompt_tokens - TEMPLATE_TOKENS) * CHARS_PER_TOKEN)))

    def beginnings(self) -> tuple[int, ...]:
        """What a worker calls the beginnings of its prompt."""
        chars = min(_HASHED_CHARS, max(1, (self.prompt_tokens - TEMPLATE_TOKENS) * CHARS_PER_TOKEN))
        return prefix_hashes(decode_body(COMPLETIONS, _body(self._text(chars))))

    def _text(self, length: int) -> str:
        if self.blocks:
            shared = "".join(map(_block_text, self.blocks[: -(-_HASHED_CHARS // _BLOCK_CHARS)]))
        else:
            shared = "" if self.prefix == NO_PREFIX else prefix_text(self.prefix, self.prefix_tokens)
        return f"{shared}{self.index:08d}".ljust(length, "x")[:length]


def prefix_text(prefix: int, tokens: int) -> str:
    """The text of a shared beginning."""
    return f"{prefix:06d}:".ljust(tokens * CHARS_PER_TOKEN, "s")


def _block_text(block: int) -> str:
    return f"{block:012d}:".ljust(_BLOCK_CHARS, "b")


def _body(text: str) -> msgspec.Raw:
    return msgspec.Raw(b'{"prompt":"' + text.encode() + b'"}')


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
