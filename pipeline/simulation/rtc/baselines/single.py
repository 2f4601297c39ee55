"""Batching rules for one class of requests."""

import math
from collections import deque
from typing import Any, Final

import numpy as np

from pipeline.simulation.rtc.baselines.fifo import Fifo, Waiting
from pipeline.simulation.rtc.engine import Engine
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.routing.fleet import Fleet
from topics.fleet import BatchTiming


class Single(Fifo):
    """One request at a time."""

    def release(self, now_s: float) -> None:
        while self._queue and (worker := self.room()) is not None:
            self.send(worker, self.take(1), now_s)


class Triton(Fifo):
    """A preferred size, a longest delay and a queue timeout that rejects.

    Source: triton-inference-server/core, dynamic_batch_scheduler.cc, GetDynamicBatch.

    Args:
        preferred: the batch leaves when it has so many requests.
        delay_s: or when its oldest is so old.
        timeout_s: requests older than this are rejected.
    """

    def __init__(
        self,
        queues: Queues,
        fleet: Fleet,
        policy: Policy,
        *,
        preferred: int = 32,
        delay_s: float = 0.005,
        timeout_s: float = math.inf,
        depth: int = 1,
    ) -> None:
        super().__init__(queues, fleet, policy, depth=depth)
        self._preferred = preferred
        self._delay_s = delay_s
        self._timeout_s = timeout_s

    def release(self, now_s: float) -> None:
        while self._queue and now_s - self._queue[0].at_s > self._timeout_s:
            self.drop_first()
        while self._queue and (worker := self.room()) is not None:
            oldest_s = self._queue[0].at_s
            if len(self._queue) < self._preferred and now_s - oldest_s < self._delay_s - 1e-9:
                self.wake(oldest_s + self._delay_s)
                break
            self.send(worker, self.take(self._preferred), now_s)


class Aimd(Fifo):
    """Batches as large as they come, up to a limit that grows by one and shrinks by a tenth.

    Source: Clipper (NSDI 2017): additive increase while a batch takes less than its share of the SLO.
    """

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy, *, share: float = 1.0, depth: int = 1) -> None:
        super().__init__(queues, fleet, policy, depth=depth)
        self._longest_s = share * min(self._slo_s.values())
        self._limit = 1.0

    def completed(self, worker: str, timing: BatchTiming, now_s: float) -> None:
        if timing.service_us / 1e6 > self._longest_s:
            self._limit = max(1.0, self._limit * 0.9)
        elif timing.size >= int(self._limit):
            self._limit = min(float(self.largest()), self._limit + 1)

    def release(self, now_s: float) -> None:
        while self._queue and self._queue[0].due_s < now_s:
            self.drop_first()
        while self._queue and (worker := self.room()) is not None:
            self.send(worker, self.take(max(1, int(self._limit))), now_s)


class Cork(Fifo):
    """Waits while the time that a newcomer saves is worth the waiting of those who are there.

    Source: bentoml/BentoML, src/bentoml/_internal/marshal/dispatcher.py. One queue for all workers here.

    Args:
        longest_s: requests that would take longer are dropped.
    """

    _TICK_S: Final = 0.001
    _REFIT_S: Final = 5.0
    _SKIPPED: Final = 2
    _EARLY_FITS: Final = (6, 12, 24)

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy, *, longest_s: float, depth: int = 1) -> None:
        super().__init__(queues, fleet, policy, depth=depth)
        self._longest_s = longest_s
        self._each_s = min(2.0, longest_s * 2 / 30)
        self._base_s = min(1.0, longest_s / 30)
        self._mean_wait_s = 0.0
        self._samples: deque[tuple[int, float, float]] = deque(maxlen=50)
        self._fitted_s = -math.inf
        self._completed = 0
        self._waits_s: dict[str, deque[float]] = {}

    def completed(self, worker: str, timing: BatchTiming, now_s: float) -> None:
        wait_s = self._waits_s[worker].popleft()
        self._completed += 1
        if self._completed <= self._SKIPPED:
            return
        self._samples.append((timing.size, timing.service_us / 1e6 + 2 * self._hop_s, wait_s))
        if now_s - self._fitted_s >= self._REFIT_S or len(self._samples) in self._EARLY_FITS:
            self._fitted_s = now_s
            self._fit()

    def release(self, now_s: float) -> None:
        while self._queue:
            count = len(self._queue)
            oldest_s, newest_s = now_s - self._queue[0].at_s, now_s - self._queue[-1].at_s
            if count > 1 and oldest_s + self._each_s * count + self._base_s >= self._longest_s:
                self.drop_first()
                continue
            worker = self.room()
            if worker is None:
                if count == 1 and oldest_s >= self._longest_s:
                    self.drop_first()
                break
            worth_waiting = count * (newest_s + self._TICK_S + self._each_s) <= 0.95 * self._mean_wait_s
            if count < self.largest() and worth_waiting:
                self.wake(now_s + self._TICK_S)
                break
            self._waits_s.setdefault(worker, deque()).append(oldest_s)
            self.send(worker, self.take(self.largest()), now_s)

    def _fit(self) -> None:
        sizes = np.array([(size, 1.0) for size, _, _ in self._samples])  # [samples, 2]
        seconds = np.array([seconds for _, seconds, _ in self._samples])
        each_s, base_s = np.linalg.lstsq(sizes, seconds, rcond=None)[0]
        self._each_s, self._base_s = max(1e-6, float(each_s)), max(0.0, float(base_s))
        self._mean_wait_s = max(0.0, float(np.mean([wait_s for _, _, wait_s in self._samples])))


class Profiled(Fifo):
    """A rule that was given the engine's true law."""

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy, *, engine: Engine, depth: int = 1) -> None:
        super().__init__(queues, fleet, policy, depth=depth)
        self._engine = engine

    def slack_s(self, waiting: Waiting, now_s: float) -> float:
        """How long the batch of a request may take if it leaves now."""
        return waiting.due_s - now_s - 2 * self._hop_s


class Nexus(Profiled):
    """The largest size of which two batches fit into the SLO; heads that prevent such a batch are dropped.

    Source: Nexus (SOSP 2019).
    """

    def __init__(self, queues: Queues, fleet: Fleet, policy: Policy, **options: Any) -> None:
        super().__init__(queues, fleet, policy, **options)
        slo_s, engine = min(self._slo_s.values()), self._engine
        fitting = [n for n in range(1, engine.max_size + 1) if 2 * engine.mean_s(n) + 2 * self._hop_s <= slo_s]
        self._size = fitting[-1] if fitting else 1

    def release(self, now_s: float) -> None:
        while self._queue and (worker := self.room()) is not None:
            while self._queue:
                size = min(self._size, len(self._queue))
                if self._engine.mean_s(size) <= self.slack_s(self._queue[0], now_s):
                    break
                self.drop_first()
            if self._queue:
                self.send(worker, self.take(self._size), now_s)


class Symphony(Profiled):
    """A batch leaves at the last moment at which one more request could have joined it.

    Source: Symphony (arXiv 2308.07470).

    Args:
        margin_s: how long before that moment.
    """

    def __init__(
        self, queues: Queues, fleet: Fleet, policy: Policy, *, engine: Engine, margin_s: float, depth: int = 1
    ) -> None:
        super().__init__(queues, fleet, policy, engine=engine, depth=depth)
        self._margin_s = margin_s

    def release(self, now_s: float) -> None:
        engine = self._engine
        while self._queue:
            worker = self.room()
            while self._queue and engine.mean_s(1) > self.slack_s(self._queue[0], now_s):
                self.drop_first()
            if not self._queue or worker is None:
                return
            while len(self._queue) > 1 and self._most(now_s) < min(
                len(self._queue), engine.max_size, 0.5 * len(self._queue)
            ):
                self.drop_first()
            count = len(self._queue)
            size = max(1, min(count, self._most(now_s), engine.max_size))
            last_s = self._queue[0].due_s - 2 * self._hop_s - self._margin_s - engine.mean_s(size + 1)
            if size < engine.max_size and size == count and now_s < last_s - 1e-9:
                self.wake(last_s)
                return
            self.send(worker, self.take(size), now_s)

    def _most(self, now_s: float) -> int:
        room_s = self.slack_s(self._queue[0], now_s) - self._margin_s - self._engine.base_s
        return int(room_s / self._engine.each_s) if room_s > 0 else 0
