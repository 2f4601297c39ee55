"""The workers of a model and their room, kept by heartbeats and by what is dispatched between them.

A heartbeat tells what a worker had room for when it was written. What was dispatched to its slots and is not counted in
it yet (`processors.routing.slot_log`) is subtracted, so that a burst between two heartbeats is never sent to one worker
twice. A worker without a fresh heartbeat gets nothing; what it has stays with its slots.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from processors.queueing.ticket import Demand
from processors.routing.arrears import Arrears
from processors.routing.portions import NOTHING, WHOLE, Portion, Portions, equal, quiet
from processors.routing.slot_log import UNSEEN_AFTER_S, SlotLog
from processors.routing.worker import Rank, Worker
from topics.fleet import STALE_AFTER_S, Heartbeat

__all__ = ["FORGET_AFTER_S", "UNSEEN_AFTER_S", "Fleet", "Placed", "Worker"]

FORGET_AFTER_S: Final = 60.0
"""A worker that has been silent for so long is forgotten."""
LOGS_KEPT: Final = 1024
"""Slots whose dispatches are numbered before those of deployments without workers are forgotten."""
PARKED_S: Final = 2.0
"""For so long a sequence that had to be parked adds to what its worker leaves free: or the same work would go back and
forth, its context computed each time."""

_Entry = tuple[Rank, int, Worker]
"""A worker in the order of ranks. It holds as long as the worker has that very rank; others are dropped on sight."""


class Placed(Struct, frozen=True, gc=False):
    """Which slot a request goes into, and the number of its dispatch there, from 1."""

    slot: int
    seq: int


class Fleet:
    """The workers of one model, seen by one scheduler.

    Args:
        sender: the scheduler's name in dispatches and in `Slot.seen`.
        shard, shards: it may use its portion of every credit; portions of all shards add up to the whole.
        portions: follows what the shards are owed; without it portions stay equal.

    Attributes:
        portion: of the credits of the newest heartbeat; an equal one at first.
        ratios: how much the portion of each shard is.
    """

    def __init__(self, *, sender: str, shard: int = 0, shards: int = 1, portions: Portions | None = None) -> None:
        self._sender = sender
        self._portions = portions if shards > 1 else None
        self._shard = shard
        self._shards = shards
        self.portion = equal(shard, shards)
        self.ratios: Sequence[float] = [1.0 / shards] * shards
        self._workers: dict[str, Worker] = {}
        self._logs: dict[tuple[str, int], SlotLog] = {}
        self._forget_at = LOGS_KEPT
        self._forgotten_seq = 0
        self._order: list[_Entry] = []
        self._pushed = 0
        self._eligible: list[Worker] = []
        self._eligible_for = ""
        self._eligible_until_s = -math.inf

    @property
    def workers(self) -> dict[str, Worker]:
        """Known workers by name, eligible or not."""
        return self._workers

    @property
    def shard(self) -> int:
        """Which of the schedulers this is, from 0."""
        return self._shard

    @property
    def shards(self) -> int:
        """Schedulers that share the credit of these workers."""
        return self._shards

    def observe(self, heartbeat: Heartbeat, *, at_s: float, now_s: float) -> bool:
        """Take a heartbeat written at `at_s`; False for one that is older than what is known."""
        known = self._workers.get(heartbeat.worker)
        if known is not None and _is_older(heartbeat, known.heartbeat):
            return False
        self._eligible, self._eligible_until_s = [], -math.inf  # nor hold on to workers as they were
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

    def eligible(self, deployment: str, *, now_s: float) -> list[Worker]:
        """The workers that may get work of a deployment, whether or not they have room, in the order they came.

        Not to be changed: it is the same list until a heartbeat comes, or one of them has been silent for too long.
        """
        if now_s > self._eligible_until_s or deployment != self._eligible_for:
            found = [worker for worker in self._workers.values() if _is_eligible(worker, deployment, now_s)]
            self._eligible, self._eligible_for = found, deployment
            self._eligible_until_s = min((worker.at_s for worker in found), default=math.inf) + STALE_AFTER_S
        return self._eligible

    def best(self, demand: Demand, *, deployment: str, now_s: float) -> Worker | None:
        """The eligible worker with room for `demand` that is occupied least; None where nobody has room.

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
        return best if best is not None or demand.yields else self._best_by_parking(demand, deployment, now_s)

    def _best_by_parking(self, demand: Demand, deployment: str, now_s: float) -> Worker | None:
        """The eligible worker where most can give way to `demand`; nobody has room without that."""
        parking = [w for w in self._workers.values() if w.parkable_sequences and w.fits(demand)]
        able = [worker for worker in parking if _is_eligible(worker, deployment, now_s)]
        return min(able, key=lambda worker: (-worker.free_for(demand), worker.name), default=None)

    def place(
        self, worker: Worker, demand: Demand, *, now_s: float, cached_tokens: int = 0, parks: bool = False
    ) -> Placed:
        """Give a worker a request, `cached_tokens` of whose prompt it has computed before.

        It goes into the slot of the worker that has the fewest uncounted dispatches. `parks`: running work has to give
        way to it, also where the engine has room.
        """
        deployment = worker.heartbeat.deployment
        slot = self._quietest(deployment, worker.slots)
        prompt_tokens = max(0, demand.prompt_tokens - cached_tokens)
        seq = self._log(deployment, slot).add(demand, prompt_tokens=prompt_tokens, now_s=now_s)
        if parks or (worker.parkable_sequences and worker.parks_for(demand, worker.heartbeat.limits.max_sequences)):
            worker.park(until_s=now_s + PARKED_S)
        worker.take(sequences=demand.sequences, kv_tokens=demand.kv_tokens, prompt_tokens=prompt_tokens)
        self._push(worker)
        return Placed(slot, seq)

    def place_together(self, worker: Worker, demands: Iterable[Demand], *, now_s: float) -> list[Placed]:
        """Give a worker requests that it will run as one batch: all of them go into one slot.

        What is in one slot is read together, taken over together and lost to nobody in part.
        """
        deployment = worker.heartbeat.deployment
        slot = self._quietest(deployment, worker.slots)
        log = self._log(deployment, slot)
        sequences, kv_tokens, prompt_tokens = log.sequences, log.kv_tokens, log.prompt_tokens
        placed = [Placed(slot, seq) for seq in log.add_together(demands, now_s=now_s)]
        worker.take(
            sequences=log.sequences - sequences,
            kv_tokens=log.kv_tokens - kv_tokens,
            prompt_tokens=log.prompt_tokens - prompt_tokens,
        )
        self._push(worker)
        return placed

    def _push(self, worker: Worker) -> None:
        self._pushed += 1
        heapq.heappush(self._order, (worker.rank, self._pushed, worker))

    def _quietest(self, deployment: str, slots: list[int]) -> int:
        if len(slots) == 1:
            return slots[0]
        return min(slots, key=lambda slot: len(self._log(deployment, slot)))

    def _counted(self, heartbeat: Heartbeat, at_s: float, now_s: float) -> Worker:
        before = self._workers.get(heartbeat.worker)
        arrears = before.arrears if before else Arrears()
        turn = self._turn(arrears, heartbeat, now_s) if self._portions else self.portion
        worker = Worker(heartbeat, at_s, portion=self.portion, turn=turn, arrears=arrears, before=before)
        worker.reserve_for_parked(now_s)
        for slot in heartbeat.slots:
            log = self._log(heartbeat.deployment, slot.partition)
            if slot.term < log.term:
                worker.slots.remove(slot.partition)
                continue
            if slot.term > log.term:
                self._take_from_others(heartbeat, slot.partition)
            log.count(slot, sender=self._sender, at_s=at_s, now_s=now_s)
            worker.take(sequences=log.sequences, kv_tokens=log.kv_tokens, prompt_tokens=log.prompt_tokens)
        worker.rerank()
        return worker

    def _turn(self, arrears: Arrears, heartbeat: Heartbeat, now_s: float) -> Portion:
        """This shard's portion of what is free at a worker that it shares."""
        portions = self._portions
        assert portions is not None
        self.portion, self.ratios = portions.at(now_s), portions.ratios
        sent = arrears.read(heartbeat)
        portions.dispatched(sent)
        waiting = portions.waiting(now_s)
        first = arrears.first(heartbeat, sent, waiting)
        if first is None:
            return self.portion
        if first.shard == self._shard:
            return WHOLE
        return quiet(self._shard, self._shards) if waiting.is_untold and not first.is_overdue else NOTHING

    def _take_from_others(self, heartbeat: Heartbeat, partition: int) -> None:
        """A slot has a new owner: the former one, which may be dead, gets nothing more through it."""
        for other in self._workers.values():
            if other.name != heartbeat.worker and other.heartbeat.deployment == heartbeat.deployment:
                other.slots = [slot for slot in other.slots if slot != partition]

    def _log(self, deployment: str, slot: int) -> SlotLog:
        log = self._logs.get((deployment, slot))
        if log is None:
            if len(self._logs) >= self._forget_at:
                self._forget_logs(deployment)
            log = self._logs[(deployment, slot)] = SlotLog(self._forgotten_seq)
        return log

    def _forget_logs(self, deployment: str) -> None:
        """Forget the slots of deployments that nobody serves. No number of theirs is given again: it has been seen."""
        served = {deployment, *(worker.heartbeat.deployment for worker in self._workers.values())}
        for key in [key for key in self._logs if key[0] not in served]:
            self._forgotten_seq = max(self._forgotten_seq, self._logs.pop(key).seq)
        self._forget_at = max(LOGS_KEPT, 2 * len(self._logs))


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
