"""Batching rules for several classes of requests on one pool."""

import math
from collections import deque
from typing import Literal

from pipeline.simulation.rtc.baselines.fifo import Fifo, Waiting
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet


class Levels(Fifo):
    """Size and delay over several queues: the oldest first, strictly by class, or each class on workers of its own.

    Source: priority levels of Triton's dynamic batcher; its queue timeout is per class here.

    Args:
        order: `oldest`, `priority`, or `partition`: a worker each for all classes but the last, which has the rest.
        timeout_share: requests older than this share of their SLO are rejected.
    """

    def __init__(
        self,
        queues: Queues,
        fleet: Fleet,
        policy: Policy,
        *,
        order: Literal["oldest", "priority", "partition"],
        preferred: int = 32,
        delay_s: float = 0.005,
        timeout_share: float = math.inf,
    ) -> None:
        super().__init__(queues, fleet, policy)
        self._order = order
        self._preferred = preferred
        self._delay_s = delay_s
        self._timeouts_s = {name: timeout_share * slo_s for name, slo_s in self._slo_s.items()}
        self._levels: dict[str, deque[Waiting]] = {name: deque() for name in policy.by_priority()}

    def on_queued(self, ticket: Ticket, *, now_s: float) -> None:
        name = ticket.latency_class
        self._levels[name].append(Waiting(ticket, now_s, now_s + self._slo_s[name]))

    def release(self, now_s: float) -> None:
        for name, queue in self._levels.items():
            while queue and now_s - queue[0].at_s > self._timeouts_s[name]:
                self.drop(queue.popleft())
        for queues, workers in self._groups():
            self._release_group(queues, workers, now_s)

    def _groups(self) -> list[tuple[list[deque[Waiting]], list[str]]]:
        queues, workers = list(self._levels.values()), sorted(self._given)
        if self._order != "partition":
            return [(queues, workers)]
        last = len(queues) - 1
        groups = [([queues[index]], [workers[index]]) for index in range(last)]
        return [*groups, ([queues[last]], workers[last:])]

    def _release_group(self, queues: list[deque[Waiting]], workers: list[str], now_s: float) -> None:
        while any(queues) and (worker := self.room(workers)) is not None:
            oldest_s = min(queue[0].at_s for queue in queues if queue)
            if sum(map(len, queues)) < self._preferred and now_s - oldest_s < self._delay_s - 1e-9:
                self.wake(oldest_s + self._delay_s)
                return
            self.send(worker, self._pick(queues), now_s)

    def _pick(self, queues: list[deque[Waiting]]) -> list[Waiting]:
        batch: list[Waiting] = []
        while len(batch) < self._preferred:
            filled = [queue for queue in queues if queue]
            if not filled:
                break
            first = filled[0] if self._order == "priority" else min(filled, key=lambda queue: queue[0].at_s)
            batch.append(first.popleft())
        return batch
