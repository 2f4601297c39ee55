"""How fast the run-to-completion controller decides with long queues."""

import gc
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np

from pipeline.simulation.rtc.direct import ControllerPlayer
from pipeline.simulation.rtc.world import Move, Sent, Told, Traffic
from processors.batching.controller import Decision
from processors.batching.run_to_completion import RunToCompletion
from tests.simulation.rtc_cells import DEFAULT_ENGINE

QUEUED: Final = 10_000
WORKERS: Final = 4
CLASSES: Final = {"realtime": 60.0, "interactive": 200.0, "standard": 2000.0}
_WARM_UP: Final = 2_000
_STEP_S: Final = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What it takes to decide, with so many requests waiting all the time.

    CPU time: what else runs on the machine costs caches at most, and the best of several runs was disturbed least.

    Attributes:
        requests_per_s: decided per second, everything counted: arrivals, heartbeats, and calls that release nothing.
        call_p99_us: of the calls of `decide`, those that release nothing with those that release a whole batch.
        batch_p50_us: of the calls that release a batch; they are about one in 65, and a batch has 64 requests.
        worst_us: the longest call.
    """

    requests_per_s: float
    call_p99_us: float
    batch_p50_us: float
    worst_us: float

    @property
    def request_us(self) -> float:
        """Of a decided request, everything counted."""
        return 1e6 / self.requests_per_s


def measure(requests: int = 20_000, *, queued: int = QUEUED) -> Speed:
    """Keep so many requests waiting; every batch that leaves makes room for as many, and its worker idle again.

    Each queued request and each heartbeat is followed by a call that decides.
    """
    total = queued + _WARM_UP + requests + 1_000
    names = cycle(CLASSES)
    traffic = Traffic(
        arrivals_s=[0.001 * index for index in range(total)],
        classes=[next(names) for _ in range(total)],
        tokens=[1] * total,
        slo_s=CLASSES,
        duration_s=1.0,
    )
    player = _Timed(_Clocked, traffic, DEFAULT_ENGINE, workers=WORKERS, hop_s=0.002)
    return player.drive(requests, queued)


def measure_best(runs: int = 5, *, queued: int = QUEUED) -> Speed:
    """The least disturbed of several measurements."""
    return min((measure(queued=queued) for _ in range(runs)), key=lambda speed: speed.call_p99_us)


class _Clocked(RunToCompletion):
    """Times its decisions; `took_s` is that of the last one."""

    took_s = 0.0

    def decide(self, *, deployment: str, now_s: float) -> Decision:
        begin_s = time.thread_time()
        decision = super().decide(deployment=deployment, now_s=now_s)
        self.took_s = time.thread_time() - begin_s
        return decision


class _Timed(ControllerPlayer):
    """Drives a controller as fast as it goes."""

    controller: _Clocked

    def drive(self, requests: int, queued: int) -> Speed:
        tickets = iter([self.ticket(index, _STEP_S * index) for index in range(len(self._traffic.tokens))])
        gc.collect()
        gc.freeze()
        now_s, decided, waiting, before_s = 0.0, 0, 0, 0.0
        calls_s: list[float] = []
        batches_s: list[float] = []
        pending: deque[Sent] = deque()
        self._reached = [0] * WORKERS
        while decided < requests + _WARM_UP:
            now_s += _STEP_S
            if pending and waiting >= queued:
                learnt_s = self._hear(pending.popleft(), now_s)
            else:
                ticket = next(tickets)
                waiting += 1
                begin_s = time.thread_time()
                self.queue(ticket, now_s)
                learnt_s = time.thread_time() - begin_s
            move = self._decide(now_s)
            call_s = self.controller.took_s
            pending += move.sent
            count = _released(move)
            decided += count
            waiting -= count
            if decided > _WARM_UP:
                before_s += learnt_s
                calls_s.append(call_s)
                batches_s += [call_s] if count else []
        gc.unfreeze()
        return Speed(
            requests_per_s=(decided - _WARM_UP) / (sum(calls_s) + before_s),
            call_p99_us=1e6 * float(np.quantile(calls_s, 0.99)),
            batch_p50_us=1e6 * float(np.quantile(batches_s, 0.5)),
            worst_us=1e6 * max(calls_s),
        )

    def _hear(self, sent: Sent, now_s: float) -> float:
        """The worker has ended a batch; the seconds that it takes to learn that."""
        self._reached[sent.worker] += 1
        sent.end_s = DEFAULT_ENGINE.mean_s(len(sent.requests))
        told = Told(sent.worker, now_s, (sent,), 0, 0, self._reached[sent.worker])
        heartbeat, finished = self.heartbeat(told), self.finished(told)
        begin_s = time.thread_time()
        self.learn(heartbeat, finished, told.at_s, now_s)
        return time.thread_time() - begin_s


def _released(move: Move) -> int:
    return sum(len(sent.requests) for sent in move.sent)
