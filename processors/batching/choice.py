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
from processors.queueing.ticket import Demand, Ticket
from processors.routing.fleet import Fleet, Worker

RESERVE: Final = 8.0
"""Sequences left free for more urgent classes, times the square root of what they have: it varies by so much.

At most half of what a worker may hold, or small engines would never do work that yields."""
HARVEST_SHARE: Final = 0.8
"""Share of the most urgent promise that work which yields plans with."""
HARVEST_KV_RATIO: Final = 0.8
RECENT_S: Final = 10.0
"""A class that had a request within this time is expected to have more."""
PARKING_S: Final = 0.050
"""A worker that has to park work for a request counts as so much slower: the parked context is computed once more."""
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
        parks: whether work that yields has to give way at `worker`.
    """

    worker: Worker | None
    soonest_s: float
    predicted_s: float = 0.0
    limit: int = 0
    cached: int = 0
    contenders: int = 0
    blocked_by: str = ""
    parks: bool = False


class Chooser:
    """Chooses for one controller, whose state it shares.

    Args:
        promises: the classes by rank.
        mix: what comes.
        residents: what is where.
        predictions: when a first token would come.
        fleet: says which portion of the workers' credit is this scheduler's.
    """

    def __init__(
        self,
        promises: list[Promise],
        *,
        mix: ClassMix,
        residents: Residents,
        predictions: Predictions,
        fleet: Fleet,
    ) -> None:
        self._promises = promises
        self._mix = mix
        self._residents = residents
        self._predictions = predictions
        self._fleet = fleet
        self._by_promise = sorted(
            (promise.token_s, promise.rank) for promise in promises if promise.token_s is not None
        )
        self._full: list[dict[Worker, str]] = [{} for _ in promises]
        self._blocked: dict[Worker, str] = {}
        self._blocked_for: Ticket | None = None
        self._outlook: Outlook | None = None

    def reopen(self, slot: int) -> None:
        """A request has left a slot: its worker may have credit again. A worker with a newer heartbeat is a new one."""
        for known in (*self._full, self._blocked):
            for worker in [worker for worker in known if slot in worker.slots]:
                del known[worker]

    def choose(self, ticket: Ticket, rank: int, workers: list[Worker], outlook: Outlook, *, now_s: float) -> Choice:
        """The worker with credit whose first token is predicted soonest, the load and the prompt counted against it."""
        best: tuple[float, Worker, float, int, int] | None = None
        contenders = 0
        cost, predictions, prompt_tokens = outlook.cost, self._predictions, ticket.demand.prompt_tokens
        may_be_cached = predictions.may_be_cached(ticket)
        recent, full, blocked = self._recent(rank, now_s), self._full[rank], self._blocked_at(ticket, outlook)
        for worker in workers:
            if worker in full or worker in blocked:
                continue
            limit, token_s = self._limit(worker, rank, outlook, recent)
            missing = self._missing(ticket.demand, rank, worker, limit)
            if missing:
                blocked[worker] = missing
                continue
            cached = predictions.cached_tokens(ticket, worker) if may_be_cached else 0
            own_tokens = prompt_tokens - cached
            step_s = cost.fixed_s + cost.sequence_s * worker.sequences + cost.kv_token_s * worker.kv_tokens
            if worker.backlog_tokens > 0 and not worker.is_empty:
                most = worker.heartbeat.limits.max_batch_tokens
                budget = prompt_budget_tokens(cost, step_s=step_s, token_s=token_s, step_limit_tokens=most)
                room = worker.prompt_room(budget)
                if room < own_tokens:
                    (full if room <= 0 else blocked)[worker] = "prompt_budget"
                    continue
            contenders += 1
            predicted_s = predictions.first_token_s(worker, outlook, step_s, worker.backlog_tokens + own_tokens)
            score = predicted_s + LOAD_S * worker.sequences / max(1, limit) + cost.prompt_token_s * own_tokens
            if worker.parkable_sequences and worker.parks_for(ticket.demand, limit):
                score += PARKING_S
            if best is None or score < best[0]:
                best = (score, worker, predicted_s, limit, cached)
        slack_s = ticket.due_at_ms / 1000 - now_s
        if best is None:
            blocked_by = blocked.get(workers[-1]) or full[workers[-1]]
            return Choice(None, self._soonest_s(ticket, workers, outlook, slack_s), blocked_by=blocked_by)
        _, worker, predicted_s, limit, cached = best
        is_sure = predicted_s <= slack_s and not self._promises[rank].is_whole
        soonest_s = predicted_s if is_sure else self._soonest_s(ticket, workers, outlook, slack_s)
        parks = worker.parkable_sequences > 0 and worker.parks_for(ticket.demand, limit)
        return Choice(worker, soonest_s, predicted_s, limit, cached, contenders, parks=parks)

    def _blocked_at(self, ticket: Ticket, outlook: Outlook) -> dict[Worker, str]:
        """Workers where this very request had no credit, and why; they have none until they speak or lose a request."""
        if outlook is not self._outlook:
            self._outlook, self._blocked_for = outlook, None
            for full in self._full:
                full.clear()
        if ticket is not self._blocked_for:
            self._blocked_for, self._blocked = ticket, {}
        return self._blocked

    def _soonest_s(self, ticket: Ticket, workers: list[Worker], outlook: Outlook, slack_s: float) -> float:
        """Until the first token of a request that came next: at the first worker where that is in time, or the best."""
        soonest_s, cost, predictions = math.inf, outlook.cost, self._predictions
        may_be_cached = predictions.may_be_cached(ticket)
        for worker in workers:
            cached = predictions.cached_tokens(ticket, worker) if may_be_cached else 0
            step_s = cost.fixed_s + cost.sequence_s * worker.sequences + cost.kv_token_s * worker.kv_tokens
            own_tokens = ticket.demand.prompt_tokens - cached
            soonest_s = min(soonest_s, predictions.first_token_s(worker, outlook, step_s, own_tokens))
            if soonest_s <= slack_s:
                break
        return soonest_s

    def _missing(self, demand: Demand, rank: int, worker: Worker, limit: int) -> str:
        """Which credit for sequences and KV tokens is missing; empty where none is. Notes who has none for anybody."""
        if not worker.fits(demand):
            if worker.free_for(demand) <= 0:
                self._full[rank][worker] = "credit"
            return "credit"
        if worker.is_empty:
            return ""
        room = worker.room(limit) + (0 if demand.yields else worker.parkable_sequences)
        if room < demand.sequences:
            if room <= 0:
                self._full[rank][worker] = "concurrency"
            return "concurrency"
        ratio = HARVEST_KV_RATIO if self._promises[rank].yields else KV_RATIO
        ahead = 0.5 * self._mix.traffic[rank].answer_tokens * demand.sequences
        spare = (1 - ratio) * worker.heartbeat.limits.max_kv_tokens * worker.turn.ratio
        return "kv" if worker.free_kv_for(demand) - demand.prompt_tokens - ahead < spare else ""

    def _recent(self, rank: int, now_s: float) -> list[int]:
        """The classes that this one leaves a reserve, as far as they are expected to have requests."""
        traffic = self._mix.traffic
        return [other for other in self._promises[rank].leaves_to if now_s - traffic[other].last_s < RECENT_S]

    def _limit(self, worker: Worker, rank: int, outlook: Outlook, recent: list[int]) -> tuple[int, float | None]:
        """Sequences that a worker may hold for a class to get one more, and the tightest promise that counts there."""
        counts = self._residents.of(worker)
        most = worker.heartbeat.limits.max_sequences
        limit, token_s = most, None
        for promised_s, other in self._by_promise:
            if other == rank or counts[other] > 0:
                limit, token_s = outlook.most_sequences(other, most), promised_s
                break
        if recent:
            promise = self._promises[rank]
            if promise.yields:
                limit = min(limit, outlook.most_sequences(recent[0], most, HARVEST_SHARE))
            above = sum(counts[other] for other in promise.leaves_to)
            limit -= int(min(RESERVE * math.sqrt(above + 1), 0.5 * limit))
        return limit, token_s
