"""Which worker a request goes to: those that have credit for it by the least predicted wait.

Credit is virtual: what a worker said last, and what it was given since. Four things bound it, and an empty worker is
bound by none of them, so that a request too large for every bound still runs:

    credit offered     sequences and KV tokens that the engine has room for
    concurrency        as many answers in progress as keep the tightest promise among them
    KV                 97 % of the cache (80 % for work that yields), half the mean answer counted ahead
    prompt budget      as many prompt tokens as one step may compute without being too long for the answers in progress
"""

import math
from typing import Final, NamedTuple

from processors.batching.class_mix import ClassMix
from processors.batching.outlook import KV_RATIO, Outlook
from processors.batching.predictions import Predictions
from processors.batching.promises import Promise
from processors.batching.residents import Residents
from processors.batching.time_to_first_token import prompt_budget_tokens
from processors.queueing.ticket import Ticket
from processors.routing.worker import Worker

RESERVE: Final = 8.0
"""Sequences left free for more urgent classes, times the square root of what they have: it varies by so much.

At most half of what a worker may hold, or small engines would never do work that yields."""
HARVEST_SHARE: Final = 0.8
"""Share of the most urgent promise that work which yields plans with."""
HARVEST_KV_RATIO: Final = 0.8
RECENT_S: Final = 10.0
"""A class that had a request within this time is expected to have more."""
LOAD_S: Final = 0.020
"""What a full worker counts more than an empty one: evens the load out where waits are equal."""


class Choice(NamedTuple):
    """Where a request goes, or why it stays.

    Attributes:
        worker: None where nobody has credit; `blocked_by` then says what was missing at the last worker looked at.
        soonest_s: until its first token, if it came next at some worker, room or not: at the best one where that
            matters, because no other would be in time.
        predicted_s: until its first token at `worker`.
        limit: sequences that `worker` may hold at present.
        cached: prompt tokens that `worker` has computed before.
        contenders: workers that had credit.
    """

    worker: Worker | None
    soonest_s: float
    predicted_s: float = 0.0
    limit: int = 0
    cached: int = 0
    contenders: int = 0
    blocked_by: str = ""


class Chooser:
    """Chooses for one controller, whose state it shares.

    Args:
        promises: the classes by rank.
        mix: what comes.
        residents: what is where.
        predictions: when a first token would come.
        shards: schedulers that share the workers' credit.
    """

    def __init__(
        self,
        promises: list[Promise],
        *,
        mix: ClassMix,
        residents: Residents,
        predictions: Predictions,
        shards: int,
    ) -> None:
        self._promises = promises
        self._mix = mix
        self._residents = residents
        self._predictions = predictions
        self._shards = shards
        self._by_promise = sorted(
            (promise.token_s, promise.rank) for promise in promises if promise.token_s is not None
        )

    def choose(self, ticket: Ticket, rank: int, workers: list[Worker], outlook: Outlook, *, now_s: float) -> Choice:
        """The worker with credit whose first token is predicted soonest, the load and the prompt counted against it."""
        best: tuple[float, Worker, float, int, int] | None = None
        soonest_s, contenders, blocked_by = math.inf, 0, ""
        cost, predictions = outlook.cost, self._predictions
        may_be_cached = predictions.may_be_cached(ticket)
        slack_s = ticket.due_at_ms / 1000 - now_s
        for worker in workers:
            cached = predictions.cached_tokens(ticket, worker) if may_be_cached else 0
            own_tokens = ticket.demand.prompt_tokens - cached
            step_s = cost.fixed_s + cost.sequence_s * worker.sequences + cost.kv_token_s * worker.kv_tokens
            if soonest_s > slack_s:
                first_s = predictions.first_token_s(worker, outlook, step_s=step_s, prompt_tokens=own_tokens)
                soonest_s = min(soonest_s, first_s)
            limit, token_s = self._limit(worker, rank, outlook, now_s)
            blocked_by = self._missing(ticket, rank, worker, outlook, limit, own_tokens, step_s, token_s)
            if blocked_by:
                continue
            contenders += 1
            ahead = worker.backlog_tokens + own_tokens
            predicted_s = predictions.first_token_s(worker, outlook, step_s=step_s, prompt_tokens=ahead)
            score = predicted_s + LOAD_S * worker.sequences / max(1, limit) + cost.prompt_token_s * own_tokens
            if best is None or score < best[0]:
                best = (score, worker, predicted_s, limit, cached)
        if best is None:
            return Choice(None, soonest_s, blocked_by=blocked_by)
        _, worker, predicted_s, limit, cached = best
        return Choice(worker, soonest_s, predicted_s, limit, cached, contenders)

    def _missing(
        self,
        ticket: Ticket,
        rank: int,
        worker: Worker,
        outlook: Outlook,
        limit: int,
        own_tokens: int,
        step_s: float,
        token_s: float | None,
    ) -> str:
        """Which credit is missing for a request; empty where none is."""
        demand = ticket.demand
        if not worker.fits(demand):
            return "credit"
        if worker.is_empty:
            return ""
        if worker.room(limit) < demand.sequences:
            return "concurrency"
        limits = worker.heartbeat.limits
        promise = self._promises[rank]
        ratio = HARVEST_KV_RATIO if promise.yields else KV_RATIO
        ahead = 0.5 * self._mix.traffic[rank].answer_tokens * demand.sequences
        if worker.free_kv_tokens - demand.prompt_tokens - ahead < (1 - ratio) * limits.max_kv_tokens / self._shards:
            return "kv"
        if worker.backlog_tokens > 0:
            budget = prompt_budget_tokens(
                outlook.cost, step_s=step_s, token_s=token_s, step_limit_tokens=limits.max_batch_tokens
            )
            if worker.prompt_room(budget) < own_tokens:
                return "prompt_budget"
        return ""

    def _limit(self, worker: Worker, rank: int, outlook: Outlook, now_s: float) -> tuple[int, float | None]:
        """Sequences that a worker may hold for a class to get one more, and the tightest promise that counts there."""
        counts = self._residents.of(worker)
        most = worker.heartbeat.limits.max_sequences
        limit, token_s = most, None
        for promised_s, other in self._by_promise:
            if other == rank or counts[other] > 0:
                limit, token_s = outlook.most_sequences(other, at_most=most), promised_s
                break
        leaves_to = self._promises[rank].leaves_to
        if leaves_to:
            limit = self._less_reserve(limit, rank, counts, outlook, most, now_s)
        return limit, token_s

    def _less_reserve(self, limit: int, rank: int, counts: list[int], outlook: Outlook, most: int, now_s: float) -> int:
        promise = self._promises[rank]
        recent = [r for r in promise.leaves_to if now_s - self._mix.traffic[r].last_s < RECENT_S]
        if not recent:
            return limit
        if promise.yields:
            limit = min(limit, outlook.most_sequences(recent[0], at_most=most, share_limit=HARVEST_SHARE))
        above = sum(counts[r] for r in promise.leaves_to)
        return limit - int(min(RESERVE * math.sqrt(above + 1), 0.5 * limit))
