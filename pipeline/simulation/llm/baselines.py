"""Other ways of feeding engines that batch continuously, behind the interface of the product's own.

Re-implementations of policies, not the products they are known from. All of them take requests in the order in which
they are due, and give each to the worker that has the fewest.
"""

import math
from collections.abc import Callable
from typing import Final

from processors.batching.controller import Batch, Decision, Dropped, Part, Why
from processors.batching.eager import Eager
from processors.batching.modes import ControllerFactory, Mode
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet, Worker
from topics.fleet import Finished

_WHY: Final = Why("baseline")
_EPSILON_S: Final = 1e-9


class LeastOutstanding(Eager):
    """Everything at once to the worker that has the fewest requests: the engine's own queue does the rest."""

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy) -> None:
        super().__init__(queues, fleet)
        self._classes = policy.classes
        self._hop_s = policy.hop_s

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        """Give out what the workers may take."""
        workers = self._fleet.eligible(deployment, now_s=now_s)
        parts: list[Batch] = []
        while workers and (ticket := self._queues.next()) is not None:
            ready = [worker for worker in workers if self._takes(worker)]
            if not ready:
                break
            self._give(ticket, min(ready, key=lambda worker: worker.sequences), parts, now_s)
        return Decision(batches=parts)

    def _takes(self, worker: Worker) -> bool:
        return True

    def _give(self, ticket: Ticket, worker: Worker, batches: list[Batch], now_s: float) -> None:
        self._queues.leave(ticket)
        part = Part(ticket, self._fleet.place(worker, ticket.demand, now_s=now_s), _WHY)
        batches.append(Batch(worker=worker, size_limit=1, parts=[part], why=_WHY))


class Clumps(LeastOutstanding):
    """Fixed batches: `size` requests, or as many as there are when the first has waited for `wait_s`.

    Args:
        completes: whether a worker gets its next batch only when the one before has ended.
    """

    def __init__(
        self, queues: Queues, fleet: Fleet, policy: Policy, *, size: int, wait_s: float, completes: bool = False
    ) -> None:
        super().__init__(queues, fleet, policy)
        self._size = size
        self._wait_s = wait_s
        self._completes = completes

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        workers = self._fleet.eligible(deployment, now_s=now_s)
        parts: list[Batch] = []
        while workers and (first := self._queues.next()) is not None:
            ready = [worker for worker in workers if not self._completes or not worker.sequences]
            if not ready:
                break
            until_s = first.admitted_us / 1e6 + self._wait_s
            if len(self._queues) < self._size and now_s < until_s - 1e-6:
                return Decision(batches=parts, wake_at_s=until_s)
            worker = min(ready, key=lambda worker: worker.sequences)
            for _ in range(min(self._size, len(self._queues))):
                ticket = self._queues.next()
                assert ticket is not None
                self._give(ticket, worker, parts, now_s)
        return Decision(batches=parts)


class _Window:
    __slots__ = ("answers", "began_s", "is_full", "limit", "slow")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.answers = 0
        self.slow = 0
        self.is_full = False
        self.began_s: float | None = None


class AimdConcurrency(LeastOutstanding):
    """A limit per worker, raised by `add` when it was reached in a second and cut by a tenth when 5 % were too slow."""

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy, *, start: int = 32, add: int = 8) -> None:
        super().__init__(queues, fleet, policy)
        self._start = start
        self._add = add
        self._windows: dict[str, _Window] = {}

    def on_worker(self, worker: Worker, *, now_s: float) -> None:
        window = self._windows.setdefault(worker.name, _Window(float(self._start)))
        finished = worker.heartbeat.finished
        window.answers += len(finished)
        window.slow += sum(self._is_slow(answer) for answer in finished)
        if worker.sequences + len(finished) >= int(window.limit) - 2:
            window.is_full = True
        if window.began_s is None:
            window.began_s = math.floor(now_s) - 1.0
        if now_s - window.began_s < 1.0:
            return
        if window.slow > 0.05 * window.answers:
            window.limit = max(1.0, 0.9 * window.limit)
        elif window.is_full:
            window.limit += self._add
        window.answers, window.slow, window.is_full, window.began_s = 0, 0, False, now_s

    def _takes(self, worker: Worker) -> bool:
        return worker.sequences < int(self._windows[worker.name].limit)

    def _is_slow(self, answer: Finished) -> bool:
        rules = self._classes.get(answer.latency_class)
        if rules is None:
            return False
        if rules.ttft_ms is None:
            return answer.service_us / 1e6 + self._hop_s > rules.target_ms / 1000
        if answer.first_token_us / 1e6 + self._hop_s > rules.ttft_ms / 1000:
            return True
        tokens = answer.completion_tokens
        if rules.tpot_ms is None or tokens <= 1:
            return False
        return (answer.service_us - answer.first_token_us) / (tokens - 1) > 1000 * rules.tpot_ms


class StaticCap(LeastOutstanding):
    """At most `limit` requests in a worker; what waited longer than a share of its target is dropped."""

    def __init__(
        self, queues: Queues, fleet: Fleet, policy: Policy, *, limit: int, ttl_share: float | None = None
    ) -> None:
        super().__init__(queues, fleet, policy)
        self._limit = limit
        self._ttl_share = ttl_share

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        dropped = list(expired(self._queues, self._ttl_share, now_s))
        decision = super().decide(deployment=deployment, now_s=now_s)
        decision.dropped = dropped
        return decision

    def _takes(self, worker: Worker) -> bool:
        return worker.sequences < self._limit


class SaturationGate(LeastOutstanding):
    """Lets requests through while the mean of max(queue / 5, KV / 0.8) over workers is below 1, polled every 50 ms.

    Source: Gateway API inference extension, flow control with the utilisation detector.
    """

    def __init__(
        self,
        queues: Queues,
        fleet: Fleet,
        policy: Policy,
        *,
        queue_depth: float = 5.0,
        kv_ratio: float = 0.8,
        poll_s: float = 0.05,
        ttl_share: float | None = None,
    ) -> None:
        super().__init__(queues, fleet, policy)
        self._queue_depth = queue_depth
        self._kv_ratio = kv_ratio
        self._poll_s = poll_s
        self._ttl_share = ttl_share
        self._saturation = 0.0
        self._next_s = 0.0

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        workers = self._fleet.eligible(deployment, now_s=now_s)
        if now_s >= self._next_s and workers:
            self._saturation = sum(self._of(worker) for worker in workers) / len(workers)
            self._next_s = now_s + self._poll_s
        dropped = list(expired(self._queues, self._ttl_share, now_s))
        decision = Decision() if self._saturation >= 1 else super().decide(deployment=deployment, now_s=now_s)
        decision.dropped = dropped
        decision.wake_at_s = max(self._next_s, now_s + 1e-3) if len(self._queues) else None
        return decision

    def _of(self, worker: Worker) -> float:
        heartbeat = worker.heartbeat
        kv = 1 - heartbeat.credits.free_kv_tokens / heartbeat.limits.max_kv_tokens
        return max(heartbeat.waiting / self._queue_depth, kv / self._kv_ratio)


def expired(queues: Queues, share: float | None, now_s: float) -> list[Dropped]:
    """Take out what has waited for longer than a share of its target."""
    dropped: list[Dropped] = []
    while share is not None and (ticket := queues.next()) is not None:
        target_s = (ticket.due_at_ms - ticket.produced_ms) / 1000
        if now_s - ticket.admitted_us / 1e6 <= share * target_s:
            break
        queues.leave(ticket, is_served=False)
        dropped.append(Dropped(ticket, Why("ttl")))
    return dropped


Maker = Callable[[Queues, Fleet, Policy], LeastOutstanding]


def factory(make: Maker) -> ControllerFactory:
    """A baseline as the scheduler takes it, whatever the mode."""

    def controllers(mode: Mode, queues: Queues, fleet: Fleet, policy: Policy) -> LeastOutstanding:
        return make(queues, fleet, policy)

    return controllers
