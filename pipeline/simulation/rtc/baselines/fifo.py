"""What the baselines share: one queue in order of arrival, and how many batches each worker has."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from processors.batching.controller import NO_REASON, Batch, Decision, Dropped, Part
from processors.batching.eager import Eager
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet, Worker
from topics.fleet import BatchTiming


class Waiting(NamedTuple):
    """A request, when it came and when it is due, in seconds."""

    ticket: Ticket
    at_s: float
    due_s: float


class Fifo(Eager):
    """`processors.batching.controller.Controller` without a rule: those who inherit it say what `release` does.

    Args:
        depth: batches that a worker may have at once.
    """

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy, *, depth: int = 1) -> None:
        super().__init__(queues, fleet)
        self._hop_s = policy.hop_s
        self._slo_s = {name: rules.target_ms / 1000 for name, rules in policy.classes.items()}
        self._depth = depth
        self._queue: deque[Waiting] = deque()
        self._given: dict[str, int] = {}
        self._decision = Decision()

    def on_queued(self, ticket: Ticket, *, now_s: float) -> None:
        self._queue.append(Waiting(ticket, now_s, now_s + self._slo_s[ticket.latency_class]))

    def on_worker(self, worker: Worker, *, now_s: float) -> None:
        self._given.setdefault(worker.name, 0)
        for timing in worker.heartbeat.batches:
            if timing.id:
                self._given[worker.name] -= 1
                self.completed(worker.name, timing, now_s)

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        self._decision = Decision(batches=[], dropped=[])
        self.release(now_s)
        return self._decision

    def release(self, now_s: float) -> None:
        """Send, drop or ask to be woken."""

    def completed(self, worker: str, timing: BatchTiming, now_s: float) -> None:
        """A batch has ended."""

    def room(self, names: Iterable[str] | None = None) -> str | None:
        """The worker with the fewest batches, if it may have another."""
        name = min(self._given if names is None else names, key=self._given.__getitem__)
        return name if self._given[name] < self._depth else None

    def largest(self) -> int:
        return next(iter(self._fleet.workers.values())).heartbeat.limits.max_sequences

    def take(self, count: int) -> list[Waiting]:
        """The first requests of the queue, as many as fit into a batch."""
        most_tokens = next(iter(self._fleet.workers.values())).heartbeat.limits.max_batch_tokens
        batch: list[Waiting] = []
        tokens = 0
        while self._queue and len(batch) < count:
            tokens += self._queue[0].ticket.demand.prompt_tokens
            if batch and tokens > most_tokens:
                break
            batch.append(self._queue.popleft())
        return batch

    def send(self, name: str, batch: list[Waiting], now_s: float) -> None:
        self._given[name] += 1
        worker = self._fleet.workers[name]
        parts = []
        for waiting in batch:
            self._queues.leave(waiting.ticket)
            placed = self._fleet.place(worker, waiting.ticket.demand, now_s=now_s)
            parts.append(Part(waiting.ticket, placed, NO_REASON))
        self._decision.batches.append(Batch(worker=worker, size_limit=len(parts), parts=parts, why=NO_REASON))

    def drop(self, waiting: Waiting) -> None:
        self._queues.leave(waiting.ticket, is_served=False)
        self._decision.dropped.append(Dropped(waiting.ticket, NO_REASON))

    def drop_first(self) -> None:
        self.drop(self._queue.popleft())

    def wake(self, at_s: float) -> None:
        """Ask to be called again by then."""
        known = self._decision.wake_at_s
        self._decision.wake_at_s = at_s if known is None else min(known, at_s)
