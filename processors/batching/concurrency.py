"""How many answers a worker may have in progress so that each comes as fast as its class promises.

The credit follows from the step model and the mix of requests; what the mix hides is learned from the answers that
ended: a class whose answers come too slowly gets a smaller share of its promise to plan with.
"""

from typing import Final

from processors.batching.steps import StepCost

MIN_SHARE: Final = 0.75
MAX_SHARE: Final = 1.2
WINDOW_S: Final = 1.0
WINDOW_ANSWERS: Final = 20
"""Answers and seconds after which the share moves."""
MIN_ANSWER_TOKENS: Final = 8
"""Shorter answers say little about the time per token."""

_NEARLY: Final = 0.985
_TOLERATED_RATIO: Final = 0.02
_UP: Final = 0.005
_MOST_DOWN: Final = 0.05


def most_sequences(cost: StepCost, *, token_s: float, prompt_tokens: float, answer_tokens: float) -> int:
    """Sequences at which a step takes `token_s`; at least 1.

    In the long run each sequence is on average half way through its answer, and brings its prompt once in as many
    steps as its answer has tokens.
    """
    per_sequence_s = (
        cost.sequence_s
        + cost.kv_token_s * (prompt_tokens + answer_tokens / 2)
        + cost.prompt_token_s * prompt_tokens / max(answer_tokens, 1.0)
    )
    return max(1, int((token_s - cost.fixed_s) / per_sequence_s))


class PromiseShare:
    """Which share of the promised time per token of one class to plan with, between 0.75 and 1.2.

    It falls fast when more than 2 % of a window's answers came within 1.5 % of the promise or later, and rises slowly
    otherwise.
    """

    __slots__ = ("_answers", "_began_s", "_slow", "_token_s", "value")

    def __init__(self, token_s: float) -> None:
        self._token_s = token_s
        self._answers = 0
        self._slow = 0
        self._began_s: float | None = None
        self.value = 1.0

    def observe(self, token_s: float, *, now_s: float) -> None:
        """An answer took `token_s` per token."""
        if self._began_s is None:
            self._began_s = now_s
        self._answers += 1
        self._slow += token_s > _NEARLY * self._token_s
        if now_s - self._began_s <= WINDOW_S or self._answers < WINDOW_ANSWERS:
            return
        excess = self._slow / self._answers - _TOLERATED_RATIO
        change = -min(_MOST_DOWN, 0.5 * excess) if excess > 0 else _UP
        self.value = min(MAX_SHARE, max(MIN_SHARE, self.value + change))
        self._answers = self._slow = 0
        self._began_s = now_s
