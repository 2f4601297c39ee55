"""What comes, class by class: how often, and how long prompts and answers are."""

import math
from typing import Final

MEMORY_S: Final = 5.0
"""Arrivals count for about so long."""
GAIN: Final = 0.02
"""Lengths are means over about the last 50 requests of a class."""
FIRST_COUNT: Final = 5
"""What is assumed at first counts as so many requests."""
FIRST_PROMPT_TOKENS: Final = 600.0
FIRST_ANSWER_TOKENS: Final = 200.0
"""Assumed until a class has had requests."""


class ClassTraffic:
    """One class.

    Attributes:
        prompt_tokens, answer_tokens: mean lengths of late.
        last_s: when a request came last; minus infinity before the first.
    """

    __slots__ = ("_answers", "_count", "_prompts", "answer_tokens", "last_s", "prompt_tokens")

    def __init__(self) -> None:
        self._count = 0.0
        self._prompts = self._answers = FIRST_COUNT
        self.prompt_tokens = FIRST_PROMPT_TOKENS
        self.answer_tokens = FIRST_ANSWER_TOKENS
        self.last_s = float("-inf")

    def arrived(self, prompt_tokens: int, *, now_s: float) -> None:
        """A request came, taken or not."""
        self._count = 1.0 + self._decayed(now_s)
        self.last_s = max(self.last_s, now_s)
        self._prompts += 1
        self.prompt_tokens += max(GAIN, 1 / self._prompts) * (prompt_tokens - self.prompt_tokens)

    def answered(self, answer_tokens: int) -> None:
        """An answer is complete."""
        self._answers += 1
        self.answer_tokens += max(GAIN, 1 / self._answers) * (answer_tokens - self.answer_tokens)

    def per_s(self, now_s: float) -> float:
        """Arrivals per second of late."""
        return self._decayed(now_s) / MEMORY_S

    def _decayed(self, now_s: float) -> float:
        return self._count * math.exp(-max(0.0, now_s - self.last_s) / MEMORY_S) if self._count else 0.0


class ClassMix:
    """All classes, in order of priority."""

    def __init__(self, classes: int) -> None:
        self.traffic = [ClassTraffic() for _ in range(classes)]

    def means(self, now_s: float) -> tuple[float, float]:
        """Prompt and answer tokens of the mean request, classes weighted by their arrivals of late."""
        weights = [traffic.per_s(now_s) + 1e-9 for traffic in self.traffic]
        whole = sum(weights)
        prompt = sum(w * traffic.prompt_tokens for w, traffic in zip(weights, self.traffic, strict=True))
        answer = sum(w * traffic.answer_tokens for w, traffic in zip(weights, self.traffic, strict=True))
        return prompt / whole, max(1.0, answer / whole)
