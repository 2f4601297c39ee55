"""What is expected of the engines for a moment: the cost of steps, the mean request, and what follows from both.

Computed anew every 50 ms, because it hardly changes in between and every request asks for it.
"""

import sys
from collections.abc import Callable
from typing import Final

from processors.batching.concurrency import most_sequences
from processors.batching.promises import Promise
from processors.batching.steps import StepCost
from processors.routing.worker import Worker

LIVES_S: Final = 0.05
KV_RATIO: Final = 0.97
"""Share of the KV cache that is planned with; beyond it, engines would have to preempt."""


class Outlook:
    """For one deployment, from `at_s` on.

    Args:
        cost: of steps.
        prompt_tokens, answer_tokens: of the mean request.
        promises: the classes by rank.
        shares: which share of the promised time per token to plan with, by rank.
        at_s: when it was made.
    """

    __slots__ = ("_most", "_promises", "_rates", "_shares", "answer_tokens", "at_s", "cost", "prompt_tokens")

    def __init__(
        self,
        cost: StepCost,
        *,
        prompt_tokens: float,
        answer_tokens: float,
        promises: list[Promise],
        shares: list[float],
        at_s: float,
    ) -> None:
        self.cost = cost
        self.prompt_tokens = prompt_tokens
        self.answer_tokens = answer_tokens
        self.at_s = at_s
        self._promises = promises
        self._shares = shares
        self._most: dict[tuple[int, float], int] = {}
        self._rates: dict[tuple[int, int], float] = {}

    def most_sequences(self, rank: int, at_most: int, share_limit: float = 2.0) -> int:
        """Sequences that a worker can hold while it keeps the promise of a class, `at_most` in any case.

        Args:
            rank: of the class.
            at_most: what the engine takes.
            share_limit: plan with no more than this share of the promise.
        """
        most = self._most.get((rank, share_limit))
        if most is None:
            most = self._most[(rank, share_limit)] = self._most_sequences(rank, share_limit)
        return most if most < at_most else at_most

    def requests_per_s(self, rank: int, workers: list[Worker]) -> float:
        """Mean requests that the workers serve per second when as full as the promise of a class allows."""
        known = self._rates.get((rank, len(workers)))
        if known is None:
            known = self._rates[(rank, len(workers))] = sum(self._one_per_s(rank, worker) for worker in workers)
        return known

    def _most_sequences(self, rank: int, share_limit: float) -> int:
        token_s = self._promises[rank].token_s
        if token_s is None:
            return sys.maxsize
        return most_sequences(
            self.cost,
            token_s=min(self._shares[rank], share_limit) * token_s,
            prompt_tokens=self.prompt_tokens,
            answer_tokens=self.answer_tokens,
        )

    def _one_per_s(self, rank: int, worker: Worker) -> float:
        limits = worker.heartbeat.limits
        context = self.prompt_tokens + self.answer_tokens / 2
        most = float(self.most_sequences(rank, limits.max_sequences))
        sequences = min(most, KV_RATIO * limits.max_kv_tokens / context)
        prompt_tokens = sequences * self.prompt_tokens / self.answer_tokens
        return sequences / (self.answer_tokens * self.cost.duration_s(sequences, sequences * context, prompt_tokens))


class OutlookCache:
    """The newest outlook; made again when it is too old or for another deployment."""

    __slots__ = ("_deployment", "_outlook")

    def __init__(self) -> None:
        self._deployment = ""
        self._outlook: Outlook | None = None

    def get(self, deployment: str, now_s: float, make: Callable[[], Outlook]) -> Outlook:
        """One for `deployment` that is no older than 50 ms."""
        outlook = self._outlook
        if outlook is None or self._deployment != deployment or not 0 <= now_s - outlook.at_s < LIVES_S:
            outlook = self._outlook = make()
            self._deployment = deployment
        return outlook
