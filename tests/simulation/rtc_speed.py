"""How fast the run-to-completion controller decides with a long queue."""

import gc
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np

from pipeline.simulation.rtc.direct import ControllerPlayer
from pipeline.simulation.rtc.world import Sent, Told, Traffic
from processors.batching.run_to_completion import RunToCompletion
from tests.simulation.rtc_cells import DEFAULT_ENGINE

QUEUED: Final = 10_000
WORKERS: Final = 4
CLASSES: Final = {"realtime": 60.0, "interactive": 200.0, "standard": 2000.0}
_WARM_UP: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Requests decided per second, and the p99 of the time per request and per call, in microseconds.

    CPU time: what else runs on the machine costs caches at most, and the best of several runs was disturbed least.
    """

    requests_per_s: float
    request_p99_us: float
    call_p99_us: float


def measure(requests: int = 40_000) -> Speed:
    """Keep `QUEUED` requests waiting; every batch that leaves makes room for as many, and its worker idle again.

    Each queued request and each heartbeat is a call that decides. A request's share of the time is that of its own
    arrival and its part of the call that dispatched it.
    """
    total = QUEUED + _WARM_UP + requests + 1_000
    names = cycle(CLASSES)
    traffic = Traffic(
        arrivals_s=[0.001 * index for index in range(total)],
        classes=[next(names) for _ in range(total)],
        tokens=[1] * total,
        slo_s=CLASSES,
        duration_s=1.0,
    )
    player = _Timed(RunToCompletion, traffic, DEFAULT_ENGINE, workers=WORKERS, hop_s=0.002)
    return player.drive(requests)


def measure_best(runs: int = 3) -> Speed:
    """The least disturbed of several measurements."""
    return max((measure() for _ in range(runs)), key=lambda speed: speed.requests_per_s)


class _Timed(ControllerPlayer):
    """Drives a controller as fast as it goes."""

    def drive(self, requests: int) -> Speed:
        tickets = iter([self.ticket(index, 0.0001 * index) for index in range(len(self._traffic.tokens))])
        gc.collect()
        gc.freeze()
        now_s, decided, queued = 0.0, 0, 0
        calls_s: list[float] = []
        shares_s: list[float] = []
        pending: deque[Sent] = deque()
        reached = [0] * WORKERS
        while decided < requests + _WARM_UP:
            now_s += 0.0001
            if pending and queued >= QUEUED:
                sent = pending.popleft()
                reached[sent.worker] += 1
                sent.end_s = DEFAULT_ENGINE.mean_s(len(sent.requests))
                told = Told(sent.worker, now_s, (sent,), 0, 0, reached[sent.worker])
                heartbeat, finished = self.heartbeat(told), self.finished(told)
                begin = time.thread_time()
                self.learn(heartbeat, finished, told.at_s, now_s)
            else:
                ticket = next(tickets)
                queued += 1
                begin = time.thread_time()
                self.queue(ticket, now_s)
            move = self._decide(now_s)
            took_s = time.thread_time() - begin
            pending += move.sent
            count = sum(len(sent.requests) for sent in move.sent)
            decided += count
            queued -= count
            if decided > _WARM_UP:
                calls_s.append(took_s)
                shares_s += [took_s / count] * count if count else []
        gc.unfreeze()
        return Speed(
            requests_per_s=len(shares_s) / sum(calls_s),
            request_p99_us=1e6 * float(np.quantile(shares_s, 0.99)),
            call_p99_us=1e6 * float(np.quantile(calls_s, 0.99)),
        )
