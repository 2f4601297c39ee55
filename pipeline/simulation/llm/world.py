"""Virtual time: requests arrive, a player sends them to replicas, replicas work and tell about it one hop later.

The world knows how long answers will be; players learn only what real workers would tell them, as heartbeats.
"""

import heapq
import math
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
from msgspec import Struct

from pipeline.simulation.llm.replica import EngineSpec, Replica, StepDone
from pipeline.simulation.llm.traffic import CLASSES, SimRequest, prefix_text
from pipeline.worker.prefixes import RecentPrefixes
from topics import names
from topics.bodies import COMPLETIONS, decode_body
from topics.fleet import HEARTBEAT_INTERVAL_S, MAX_SAMPLES, Credits, Finished, Heartbeat, Slot, StepSample
from topics.prefixes import prefix_hashes

MODEL: Final = "m"
DEPLOYMENT: Final = "m@v1"
SENDER: Final = "simulation"
START_S: Final = 1_800_000_000.0
"""Broker time at which runs begin."""
TELL_S: Final = 0.020
"""Workers tell about steps in which nothing ended or began no more often than this."""
_NOISE_SEED: Final = 5
_AGAIN_S: Final = 1e-3


class Sent(NamedTuple):
    """A request, by index, goes to a worker, by index, as the `seq`-th that the player sends there."""

    worker: int
    request: int
    seq: int


class Turned(NamedTuple):
    """A request will not be served: refused when it came, or dropped later."""

    request: int
    was_refused: bool


class Move(NamedTuple):
    """What a player does now, and when it wants to be woken."""

    sent: list[Sent]
    turned_away: list[Turned]
    wake_at_s: float | None


class Player(Protocol):
    """Decides which request goes where. Called in order of time; `now_s` counts from the beginning."""

    def arrive(self, request: SimRequest, *, now_s: float) -> Move: ...

    def hear(self, heartbeat: Heartbeat, *, at_s: float, now_s: float) -> Move: ...

    def wake(self, *, now_s: float) -> Move: ...


class Pool(Struct, kw_only=True, frozen=True):
    """Replicas behind a broker.

    Attributes:
        engines: one for each replica.
        hop_s: one way through the broker.
        drain_s: how long after the last arrival the run may take.
        silence: heartbeats between these two times are delivered at the second; None for never.
        priorities: of classes inside the engines, by name; None for those of the synthetic traffic.
    """

    engines: tuple[EngineSpec, ...]
    hop_s: float = 0.003
    drain_s: float = 60.0
    silence: tuple[float, float] | None = None
    priorities: Mapping[str, int] | None = None


class _Station:
    """A replica with the worker around it: what it was sent, and what it has to tell."""

    __slots__ = ("finished", "heartbeats", "last_told_s", "recent", "replica", "samples", "seen")

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.recent = RecentPrefixes()
        self.seen = 0
        self.heartbeats = 0
        self.last_told_s = -math.inf
        self.samples: list[StepSample] = []
        self.finished: list[Finished] = []

    def note(self, done: StepDone) -> None:
        sample = StepSample(
            duration_us=round(done.duration_s * 1e6),
            decoding=done.decoding,
            kv_tokens=done.kv_tokens,
            prefill_tokens=done.prompt_tokens,
        )
        self.samples = [*self.samples[1 - MAX_SAMPLES :], sample]
        self.finished += [_finished(request) for request in done.ended]


class World:
    """Runs one player against one pool.

    Args:
        pool: the replicas.
        seed: of the steps' noise.
    """

    def __init__(self, pool: Pool, *, seed: int) -> None:
        rng = np.random.default_rng(seed + _NOISE_SEED)
        self._pool = pool
        priorities = pool.priorities or {name: rules.priority for name, rules in CLASSES.items()}
        self._stations = [_Station(Replica(spec, rng, priorities)) for spec in pool.engines]
        self._events: list[tuple[float, int, int, SimRequest | Heartbeat | None, int | float]] = []
        self._numbered = 0
        self._open = 0
        self._hashes: dict[int, int] = {}

    def run(self, player: Player, requests: list[SimRequest], *, duration_s: float) -> None:
        """Play until every request has ended or the run is over; the stories are written into the requests."""
        self._open = len(requests)
        arrived, wake_s = 0, math.inf
        for worker in range(len(self._stations)):
            self._stations[worker].samples = warm_up(self._pool.engines[worker])
            self._tell(worker, -self._pool.hop_s)
        while self._open:
            arrival_s = requests[arrived].at_s if arrived < len(requests) else math.inf
            event_s = self._events[0][0]
            now_s = min(arrival_s, event_s, wake_s)
            if now_s > duration_s + self._pool.drain_s:
                return
            if arrival_s <= event_s and arrival_s <= wake_s:
                move: Move | None = player.arrive(requests[arrived], now_s=now_s)
                arrived += 1
            elif event_s <= wake_s:
                move = self._event(player, now_s)
            else:
                move = player.wake(now_s=now_s)
            if move is not None:
                self._apply(move, requests, now_s)
                wake_s = math.inf if move.wake_at_s is None else max(move.wake_at_s, now_s + _AGAIN_S)

    def _apply(self, move: Move, requests: list[SimRequest], now_s: float) -> None:
        for sent in move.sent:
            request = requests[sent.request]
            request.dispatched_s = now_s
            self._at(now_s + self._pool.hop_s, sent.worker, request, sent.seq)
        for turned in move.turned_away:
            request = requests[turned.request]
            request.turned_away_s, request.was_refused = now_s, turned.was_refused
            self._open -= 1

    def _event(self, player: Player, now_s: float) -> Move | None:
        """A request reaches a worker, a heartbeat reaches the player, or a step or a pause of a worker ends."""
        _, _, worker, what, detail = heapq.heappop(self._events)
        if isinstance(what, SimRequest):
            self._reach(worker, what, int(detail), now_s)
        elif isinstance(what, Heartbeat):
            return player.hear(what, at_s=float(detail), now_s=now_s)
        elif detail:
            self._step_ends(worker, now_s)
        else:
            self._pause_ends(worker, now_s)
        return None

    def _reach(self, worker: int, request: SimRequest, seq: int, now_s: float) -> None:
        station = self._stations[worker]
        station.seen = max(station.seen, seq)
        request.received_s = now_s
        if request.blocks:
            station.recent.use(request.beginnings())
        station.replica.push(request)
        if not station.replica.is_busy:
            self._start(worker, now_s)

    def _step_ends(self, worker: int, now_s: float) -> None:
        station = self._stations[worker]
        done = station.replica.finish(now_s)
        self._open -= len(done.ended)
        station.note(done)
        if done.ended or done.first or now_s - station.last_told_s >= TELL_S:
            self._tell(worker, now_s)
        self._start(worker, now_s)

    def _pause_ends(self, worker: int, now_s: float) -> None:
        due_s = self._stations[worker].last_told_s + HEARTBEAT_INTERVAL_S
        if now_s >= due_s - 1e-9:
            self._tell(worker, now_s)
        else:
            self._at(due_s, worker, None, 0)

    def _start(self, worker: int, now_s: float) -> None:
        duration_s = self._stations[worker].replica.start()
        if duration_s is not None:
            self._at(now_s + duration_s, worker, None, 1)

    def _tell(self, worker: int, now_s: float) -> None:
        station = self._stations[worker]
        if station.last_told_s < now_s - HEARTBEAT_INTERVAL_S + 1e-9:
            self._at(now_s + HEARTBEAT_INTERVAL_S, worker, None, 0)
        station.last_told_s = now_s
        station.heartbeats += 1
        heard_s = now_s + self._pool.hop_s
        if self._pool.silence is not None and self._pool.silence[0] <= heard_s < self._pool.silence[1]:
            heard_s = self._pool.silence[1]
        self._at(heard_s, worker, self._heartbeat(worker, now_s), now_s)

    def _heartbeat(self, worker: int, now_s: float) -> Heartbeat:
        station, spec = self._stations[worker], self._pool.engines[worker]
        replica = station.replica
        heartbeat = Heartbeat(
            worker=f"w{worker}",
            run="1",
            seq=station.heartbeats,
            at_ms=int(1000 * (START_S + now_s)),
            model=MODEL,
            deployment=DEPLOYMENT,
            engine="simulated",
            state="ready",
            running=replica.running,
            waiting=replica.waiting,
            slots=[Slot(partition=worker, term=0, seen={SENDER: station.seen})],
            credits=Credits(
                free_sequences=max(0, spec.sequences - replica.running - replica.waiting),
                free_kv_tokens=max(0, spec.kv_tokens - replica.kv_tokens),
                prefill_backlog_tokens=replica.backlog_tokens,
            ),
            limits=spec.limits,
            finished=station.finished,
            samples=station.samples,
            prefixes=[*map(self._hash, replica.cached_prefixes), *station.recent.newest()],
        )
        station.finished, station.samples = [], []
        return heartbeat

    def _hash(self, prefix: int) -> int:
        """What a worker would call a shared beginning: all of its whole blocks."""
        found = self._hashes.get(prefix)
        if found is None:
            body = decode_body(COMPLETIONS, SHARED_BODY % prefix_text(prefix, SHARED_TOKENS).encode())
            found = self._hashes[prefix] = prefix_hashes(body)[-1]
        return found

    def _at(self, at_s: float, worker: int, what: SimRequest | Heartbeat | None, detail: int | float) -> None:
        self._numbered += 1
        heapq.heappush(self._events, (at_s, self._numbered, worker, what, detail))


SHARED_TOKENS: Final = 1200
"""Length of shared beginnings that are named as a whole."""
SHARED_BODY: Final = b'{"prompt":"%s"}'


def warm_up(spec: EngineSpec) -> list[StepSample]:
    """Steps that a worker times before it is ready."""
    steps = [(1, 16, 0), (0, 0, 64), (0, 0, 512), (8, 4096, 0), (0, 0, spec.step_tokens), (64, 32768, 0)]
    steps += [(64, 32768, 512), (256, 131_072, 0)]
    return [
        StepSample(
            duration_us=round(
                1e6 * (spec.fixed_s + spec.sequence_s * n + spec.kv_token_s * kv_tokens + spec.prompt_token_s * prompt)
            ),
            decoding=n,
            kv_tokens=kv_tokens,
            prefill_tokens=prompt,
        )
        for n, kv_tokens, prompt in steps
    ]


def _finished(request: SimRequest) -> Finished:
    assert request.ended_s is not None and request.first_s is not None
    return Finished(
        origin=names.origin_of(names.Lane(MODEL, request.latency_class).topic, 0, request.index),
        batch_id="",
        prompt_tokens=request.prompt_tokens,
        completion_tokens=request.answer_tokens,
        service_us=round((request.ended_s - request.received_s) * 1e6),
        outcome="completed",
        first_token_us=round((request.first_s - request.received_s) * 1e6),
        latency_class=request.latency_class,
    )
