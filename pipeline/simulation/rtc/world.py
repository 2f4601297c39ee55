"""Virtual time: requests arrive, a player sends batches, workers run them, and tell about it one hop later.

The world knows true service times; players learn only what real workers would tell. Everyone who plays the same traffic
meets the same noise: the n-th batch that is sent draws the n-th noise.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from pipeline.simulation.rtc.engine import Engine

BEAT_S: Final = 0.2
COALESCE_S: Final = 0.02
"""A worker tells of a batch that has come, but not this soon after it told something; the end of a batch it tells at
once."""
_NOISE_SEED: Final = 777
_AGAIN_S: Final = 1e-4
"""A player that asks to be woken at once, after it has just been asked, is woken a moment later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests in order of arrival; `slo_s` by class.

    `tenants` and `shards` say whose each is and which shard of the lanes it came to; where they are empty, all are of
    one tenant and came to shard 0.
    """

    arrivals_s: list[float]
    classes: list[str]
    tokens: list[int]
    slo_s: dict[str, float]
    duration_s: float
    tenants: Sequence[str] = ()
    shards: Sequence[int] = ()

    def due_s(self, index: int) -> float:
        return self.arrivals_s[index] + self.slo_s[self.classes[index]]

    def tenant(self, index: int) -> str:
        return self.tenants[index] if self.tenants else "default"

    def shard(self, index: int) -> int:
        return self.shards[index] if self.shards else 0


@dataclass(slots=True, eq=False)
class Sent:
    """A batch of requests, by their indices, on its way to a worker."""

    worker: int
    name: str
    requests: list[int]
    start_s: float = 0.0
    end_s: float = 0.0
    reached_s: float = 0.0

    @property
    def service_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Told:
    """A worker's statement, written at `at_s`: what has ended since the one before, and what it holds.

    `reached` is how many batches had come to it by then.
    """

    worker: int
    at_s: float
    ended: tuple[Sent, ...]
    running: int
    waiting: int
    reached: int


@dataclass(frozen=True, slots=True)
class Move:
    """What a player does now. `turned_away` will not be served."""

    sent: list[Sent] = field(default_factory=list)
    turned_away: list[int] = field(default_factory=list)
    wake_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Come:
    """A batch has come to a worker, and nobody was told yet."""

    worker: int
    sent: Sent


class Player(Protocol):
    """Decides which requests go where. Called in order of time."""

    def arrive(self, index: int, *, now_s: float) -> Move: ...

    def hear(self, told: Told, *, now_s: float) -> Move: ...

    def wake(self, *, now_s: float) -> Move: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Statements of these workers between two times arrive only at the end of it."""

    workers: tuple[int, ...]
    from_s: float
    until_s: float


@dataclass(slots=True)
class Results:
    """What became of the requests. Times in seconds; `answered_s` and `turned_away_s` by index of the request."""

    traffic: Traffic
    workers: int
    answered_s: dict[int, float] = field(default_factory=dict)
    turned_away_s: dict[int, float] = field(default_factory=dict)
    batches: list[Sent] = field(default_factory=list)

    def is_good(self, index: int) -> bool:
        answered_s = self.answered_s.get(index)
        return answered_s is not None and answered_s <= self.traffic.due_s(index)

    def goodput(self, latency_class: str | None = None, *, tenant: str | None = None) -> float:
        """Share of the requests, of a class or a tenant or all, that were answered within their SLO."""
        traffic = self.traffic
        chosen = [
            index
            for index, name in enumerate(traffic.classes)
            if latency_class in (None, name) and tenant in (None, traffic.tenant(index))
        ]
        return sum(map(self.is_good, chosen)) / max(1, len(chosen))

    @property
    def good_per_s(self) -> float:
        return self.goodput() * len(self.traffic.arrivals_s) / self.traffic.duration_s

    def latency_s(self, quantile: float) -> float:
        """Quantile of the latency of those that were answered."""
        arrivals = self.traffic.arrivals_s
        latencies = [end_s - arrivals[index] for index, end_s in self.answered_s.items()]
        return float(np.quantile(latencies, quantile)) if latencies else 0.0

    def rejection_s(self, quantile: float) -> float:
        """Quantile of how long a request that was turned away had waited for that."""
        arrivals = self.traffic.arrivals_s
        waits = [at_s - arrivals[index] for index, at_s in self.turned_away_s.items()]
        return float(np.quantile(waits, quantile)) if waits else 0.0

    @property
    def mean_size(self) -> float:
        return len(self.answered_s) / max(1, len(self.batches))

    @property
    def utilisation(self) -> float:
        """Busy time of all workers over the time that they were there for traffic."""
        return sum(sent.service_s for sent in self.batches) / (self.workers * self.traffic.duration_s)


class _Bench:
    """One worker: what has been sent to it and has not ended, and how many batches ever reached it."""

    __slots__ = ("arrived", "ended", "pending", "reached", "told_s", "until_s")

    def __init__(self) -> None:
        self.until_s = 0.0
        self.told_s = 0.0
        self.pending: deque[Sent] = deque()
        self.ended: list[Sent] = []
        self.reached = 0

    def accept(self, sent: Sent, engine: Engine, tokens: int, rng: np.random.Generator) -> None:
        sent.start_s = max(sent.reached_s, self.until_s)
        sent.end_s = sent.start_s + engine.sample_s(len(sent.requests), tokens, rng, sent.start_s)
        self.until_s = sent.end_s
        self.pending.append(sent)

    def tell(self, worker: int, at_s: float) -> Told:
        running = sum(len(sent.requests) for sent in self.pending if sent.start_s <= at_s)
        here = [sent for sent in self.pending if sent.reached_s <= at_s]
        waiting = sum(len(sent.requests) for sent in here) - running
        told = Told(worker, at_s, tuple(self.ended), running, waiting, self.reached + len(here))
        self.ended.clear()
        self.told_s = at_s
        return told


class World:
    """A pool of equal workers behind a broker.

    Args:
        engine: what batches cost.
        workers: how many there are.
        hop_s: one way through the broker, in seconds.
        seed: of the noise.
        beats: whether workers also tell about themselves when nothing ends: of what has come, and now and then.
        silence: when statements are held up.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        workers: int,
        hop_s: float,
        seed: int,
        beats: bool = True,
        silence: Silence | None = None,
    ) -> None:
        self._engine = engine
        self._hop_s = hop_s
        self._rng = np.random.default_rng(seed + _NOISE_SEED)
        self._beats = beats
        self._silence = silence
        self._benches = [_Bench() for _ in range(workers)]
        self._events: list[tuple[float, int, Sent | Told | _Come | int]] = []
        self._numbered = 0

    def run(self, player: Player, traffic: Traffic) -> Results:
        """Play until everything has ended."""
        results = Results(traffic, len(self._benches))
        arrivals, count, index = traffic.arrivals_s, len(traffic.arrivals_s), 0
        if self._beats:
            for worker in range(len(self._benches)):
                self._push(BEAT_S * worker / len(self._benches), worker)
        wake_at_s: float | None = None
        while True:
            arrival_s = arrivals[index] if index < count else math.inf
            event_s = self._events[0][0] if self._events else math.inf
            now_s = min(arrival_s, event_s, math.inf if wake_at_s is None else wake_at_s)
            if now_s == math.inf:
                return results
            move: Move | None
            if arrival_s <= now_s:
                move = player.arrive(index, now_s=now_s)
                index += 1
            elif event_s <= now_s:
                more = index < count or any(bench.pending for bench in self._benches)
                move = self._happen(player, results, now_s, goes_on=more)
            else:
                move = player.wake(now_s=now_s)
            if move is not None:
                wake_at_s = self._follow(move, results, now_s)

    def _happen(self, player: Player, results: Results, now_s: float, *, goes_on: bool) -> Move | None:
        _, _, what = heapq.heappop(self._events)
        if isinstance(what, Told):
            return player.hear(what, now_s=now_s)
        if isinstance(what, Sent):
            bench = self._benches[what.worker]
            bench.pending.popleft()
            bench.ended.append(what)
            bench.reached += 1
            for request in what.requests:
                results.answered_s[request] = now_s + self._hop_s
            self._tell(what.worker, now_s)
        elif isinstance(what, _Come):
            told_s = self._benches[what.worker].told_s
            if now_s < told_s + COALESCE_S - 1e-9 and told_s < what.sent.reached_s:
                self._push(told_s + COALESCE_S, what)
            elif told_s < what.sent.reached_s:
                self._tell(what.worker, now_s)
        else:
            self._tell(what, now_s)
            if goes_on:
                self._push(now_s + BEAT_S, what)
        return None

    def _tell(self, worker: int, now_s: float) -> None:
        heard_s = now_s + self._hop_s
        silence = self._silence
        if silence is not None and worker in silence.workers and silence.from_s <= heard_s < silence.until_s:
            heard_s = silence.until_s
        self._push(heard_s, self._benches[worker].tell(worker, now_s))

    def _follow(self, move: Move, results: Results, now_s: float) -> float | None:
        for request in move.turned_away:
            results.turned_away_s[request] = now_s
        for sent in move.sent:
            sent.reached_s = now_s + self._hop_s
            tokens = sum(results.traffic.tokens[request] for request in sent.requests)
            self._benches[sent.worker].accept(sent, self._engine, tokens, self._rng)
            results.batches.append(sent)
            self._push(sent.end_s, sent)
            if self._beats:
                self._push(sent.reached_s, _Come(sent.worker, sent))
        wake_at_s = move.wake_at_s
        return now_s + _AGAIN_S if wake_at_s is not None and wake_at_s <= now_s else wake_at_s

    def _push(self, at_s: float, what: Sent | Told | _Come | int) -> None:
        self._numbered += 1
        heapq.heappush(self._events, (at_s, self._numbered, what))
