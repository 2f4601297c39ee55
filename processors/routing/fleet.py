"""Workers and their room: virtual credits.

A heartbeat tells what a worker had room for when it was written. What was dispatched to its slots and is not counted in
it yet (`Slot.seen`, by the number of the dispatch) is subtracted, so that a burst between two heartbeats is never sent
to one worker twice. A worker without a fresh heartbeat gets nothing; what it has stays with its slots.
"""

import heapq
from collections import deque
from typing import Final, NamedTuple

from processors.queueing.ticket import Demand
from topics.fleet import STALE_AFTER_S, Heartbeat, Slot

FORGET_AFTER_S: Final = 60.0
"""A worker that has been silent for so long is forgotten."""
UNSEEN_AFTER_S: Final = 30.0
"""A dispatch that no heartbeat has counted for so long was finished by an owner that died before it could say so."""


RESERVE_RATIO: Final = 1 / 8
"""Share of a worker's sequences that work which yields leaves free: urgent work finds room without waiting for an end.

An eighth covers the arrivals during one such wait at moderate load; adapting it to the load belongs to the sizing of
batches."""

Rank = tuple[float, float, str]


class _Unseen(NamedTuple):
    seq: int
    demand: Demand
    at_s: float


class _SlotLog:
    """What this scheduler put into one slot: the last number, and what no heartbeat has counted yet."""

    __slots__ = ("seq", "unseen")

    def __init__(self) -> None:
        self.seq = 0
        self.unseen: deque[_Unseen] = deque()


class Worker:
    """A worker as its newest heartbeat describes it, less what it was given since.

    Attributes:
        free_sequences, free_kv_tokens: virtual credit of this scheduler.
        backlog_tokens: prompt tokens that wait for the engine, with those that were dispatched since.
        rank: orders workers by the wait to be expected.
    """

    __slots__ = (
        "at_s",
        "backlog_tokens",
        "free_kv_tokens",
        "free_sequences",
        "heartbeat",
        "is_empty",
        "name",
        "rank",
        "reserve",
        "slots",
    )

    def __init__(self, heartbeat: Heartbeat, at_s: float) -> None:
        self.name = heartbeat.worker
        self.heartbeat = heartbeat
        self.at_s = at_s
        self.slots = [slot.partition for slot in heartbeat.slots]
        self.free_sequences = 0
        self.free_kv_tokens = 0
        self.backlog_tokens = 0
        self.is_empty = False
        self.reserve = 0
        self.rank: Rank = (0.0, 0.0, self.name)

    def fits(self, demand: Demand) -> bool:
        """Whether the demand is within the credit. An empty worker takes whatever comes first: it can do no better."""
        free = self.free_sequences - (self.reserve if demand.yields else 0)
        if free <= 0:
            return False
        return self.is_empty or (free >= demand.sequences and self.free_kv_tokens >= demand.kv_tokens)

    def take(self, demand: Demand) -> None:
        """Give it a request."""
        self.free_sequences -= demand.sequences
        self.free_kv_tokens -= demand.kv_tokens
        self.backlog_tokens += demand.prompt_tokens
        self.is_empty = False
        self.rerank()

    def rerank(self) -> None:
        """Compute the rank: the emptiest first, then the shortest prefill backlog.

        The name makes the choice a function of the events alone.
        """
        limits = self.heartbeat.limits
        occupied = 1.0 - self.free_sequences / max(limits.max_sequences, 1)
        self.rank = (occupied, self.backlog_tokens / max(limits.max_batch_tokens, 1), self.name)


_Entry = tuple[Rank, int, Worker]
"""A worker in the order of ranks. It holds as long as the worker has that very rank; others are dropped on sight."""


class Placed(NamedTuple):
    """Which slot a request goes into, and the number of its dispatch there, from 1."""

    slot: int
    seq: int


class Fleet:
    """The workers of one model, seen by one scheduler.

    Args:
        sender: the scheduler's name in dispatches and in `Slot.seen`.
        shard, shards: it may use about `1 / shards` of every credit; shares of all shards add up to the whole.
    """

    def __init__(self, *, sender: str, shard: int = 0, shards: int = 1) -> None:
        self._sender = sender
        self._shard = shard
        self._shards = shards
        self._workers: dict[str, Worker] = {}
        self._logs: dict[tuple[str, int], _SlotLog] = {}
        self._order: list[_Entry] = []
        self._pushed = 0

    @property
    def workers(self) -> dict[str, Worker]:
        """Known workers by name, eligible or not."""
        return self._workers

    def observe(self, heartbeat: Heartbeat, *, at_s: float, now_s: float) -> bool:
        """Take a heartbeat written at `at_s`; False for one that is older than what is known."""
        known = self._workers.get(heartbeat.worker)
        if known is not None and _is_older(heartbeat, known.heartbeat):
            return False
        if heartbeat.state == "stopped":
            self._workers.pop(heartbeat.worker, None)
        else:
            worker = self._workers[heartbeat.worker] = self._counted(heartbeat, at_s, now_s)
            self._push(worker)
        for name in [w.name for w in self._workers.values() if w.at_s < now_s - FORGET_AFTER_S]:
            del self._workers[name]
        if len(self._order) > 4 * len(self._workers) + 64:
            self._order.clear()
            for worker in self._workers.values():
                self._push(worker)
        return True

    def best(self, demand: Demand, *, deployment: str, now_s: float) -> Worker | None:
        """The eligible worker with room for `demand` whose wait is the shortest; None where nobody has room.

        Who is not eligible is left out until its next heartbeat: only that can change it.
        """
        best: Worker | None = None
        too_full: list[_Entry] = []
        while self._order:
            entry = self._order[0]
            rank, _, worker = entry
            if worker.rank is rank and self._workers.get(worker.name) is worker:
                if worker.free_sequences <= 0:
                    break
                if _is_eligible(worker, deployment, now_s):
                    if worker.fits(demand):
                        best = worker
                        break
                    too_full.append(entry)
            heapq.heappop(self._order)
        for entry in too_full:
            heapq.heappush(self._order, entry)
        return best

    def place(self, worker: Worker, demand: Demand, *, now_s: float) -> Placed:
        """Give a worker a request: the slot of it that has the fewest uncounted dispatches."""
        deployment = worker.heartbeat.deployment
        slot = self._quietest(deployment, worker.slots)
        log = self._log(deployment, slot)
        log.seq += 1
        log.unseen.append(_Unseen(log.seq, demand, now_s))
        worker.take(demand)
        self._push(worker)
        return Placed(slot, log.seq)

    def _push(self, worker: Worker) -> None:
        self._pushed += 1
        heapq.heappush(self._order, (worker.rank, self._pushed, worker))

    def _quietest(self, deployment: str, slots: list[int]) -> int:
        if len(slots) == 1:
            return slots[0]
        return min(slots, key=lambda slot: len(self._log(deployment, slot).unseen))

    def _counted(self, heartbeat: Heartbeat, at_s: float, now_s: float) -> Worker:
        worker = Worker(heartbeat, at_s)
        credits = heartbeat.credits
        worker.free_sequences = self._share(credits.free_sequences)
        worker.free_kv_tokens = self._share(credits.free_kv_tokens)
        worker.reserve = int(RESERVE_RATIO * heartbeat.limits.max_sequences / self._shards)
        worker.backlog_tokens = credits.prefill_backlog_tokens
        worker.is_empty = heartbeat.running == 0 and heartbeat.waiting == 0
        for slot in heartbeat.slots:
            for unseen in self._uncounted(heartbeat.deployment, slot, now_s):
                worker.take(unseen.demand)
        worker.rerank()
        return worker

    def _uncounted(self, deployment: str, slot: Slot, now_s: float) -> deque[_Unseen]:
        unseen = self._log(deployment, slot.partition).unseen
        seen = slot.seen.get(self._sender, 0)
        while unseen and (unseen[0].seq <= seen or unseen[0].at_s < now_s - UNSEEN_AFTER_S):
            unseen.popleft()
        return unseen

    def _log(self, deployment: str, slot: int) -> _SlotLog:
        log = self._logs.get((deployment, slot))
        if log is None:
            log = self._logs[(deployment, slot)] = _SlotLog()
        return log

    def _share(self, credit: int) -> int:
        return (credit + self._shards - 1 - self._shard) // self._shards


def _is_older(heartbeat: Heartbeat, known: Heartbeat) -> bool:
    if heartbeat.run == known.run:
        return heartbeat.seq <= known.seq
    return heartbeat.at_ms < known.at_ms


def _is_eligible(worker: Worker, deployment: str, now_s: float) -> bool:
    heartbeat = worker.heartbeat
    return (
        heartbeat.state == "ready"
        and heartbeat.deployment == deployment
        and bool(worker.slots)
        and now_s - worker.at_s <= STALE_AFTER_S
    )
