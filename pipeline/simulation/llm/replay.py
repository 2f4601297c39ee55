"""What if: a recorded trace, played in virtual time through the scheduler or through another way of batching."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from pipeline.simulation.llm.measure import figures
from pipeline.simulation.llm.product import SchedulerPlayer
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.llm.traffic import NO_PREFIX, SimRequest
from pipeline.simulation.llm.world import SHARED_TOKENS, Move, Pool, World
from pipeline.simulation.traces import Arrival
from processors.batching.modes import ControllerFactory
from processors.policy import ClassPolicy
from topics.fleet import Heartbeat
from topics.requests import DEFAULT_TENANT

MOST_PROMPT_TOKENS: Final = 32_000


class Scenario(Struct, kw_only=True, frozen=True):
    """What is played.

    Attributes:
        workers: replicas.
        engine: what each of them is.
        classes: the lanes, with their SLOs.
        mix: share of the requests that each class gets, drawn by `seed`.
        speed: the trace's time passes this many times as fast: 2 is twice the load.
        seconds: how much of the trace is played, in its own time; None for all.
        usd_per_gpu_hour: what a replica costs.
    """

    workers: int
    engine: EngineSpec
    classes: Mapping[str, ClassPolicy]
    mix: Mapping[str, float]
    speed: float = 1.0
    seconds: float | None = None
    usd_per_gpu_hour: float = 2.10
    seed: int = 0


class Outcome(Struct, kw_only=True, frozen=True):
    """What became of the requests under one way of batching.

    `goodput_ratio` is the share that was answered within its SLO. `batch_mean` is how many sequences a busy engine
    decoded at once, weighted with time. `gpu_hours` are of all replicas from the first arrival to the last end.
    """

    policy: str
    requests: int
    goodput_ratio: float
    goodput_by_class: dict[str, float]
    rejected_ratio: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    tpot_p50_ms: float
    tpot_p99_ms: float
    batch_mean: float
    batch_max: int
    busy_ratio: float
    gpu_hours: float
    usd: float
    usd_per_1k_good: float | None


def requests_of(trace: Sequence[Arrival], scenario: Scenario) -> list[SimRequest]:
    """The part of a trace that is played, as requests in order of arrival."""
    draw = random.Random(scenario.seed)
    names, weights = list(scenario.mix), list(scenario.mix.values())
    shared = {block for block, times in Counter(a.blocks[0] for a in trace if a.blocks).items() if times > 1}
    end_s = float("inf") if scenario.seconds is None else scenario.seconds
    played = [arrival for arrival in trace if arrival.at_s < end_s]
    return [
        _request(index, arrival, draw.choices(names, weights)[0], shared, scenario.speed)
        for index, arrival in enumerate(played)
    ]


def replay(requests: Sequence[SimRequest], scenario: Scenario, policy: str, controllers: ControllerFactory) -> Outcome:
    """Play requests that have not been played; their stories are written into them."""
    played = list(requests)
    duration_s = played[-1].at_s if played else 0.0
    pool = Pool(engines=(scenario.engine,) * scenario.workers)
    player = _Watched(SchedulerPlayer(hop_s=pool.hop_s, controllers=controllers, classes=scenario.classes))
    World(pool, seed=scenario.seed).run(player, played, duration_s=duration_s)
    return _outcome(policy, played, scenario, player)


class _Watched:
    """A player that keeps what heartbeats say about batches."""

    def __init__(self, player: SchedulerPlayer) -> None:
        self._player = player
        self.busy_us = 0
        self.weighted = 0
        self.batch_max = 0

    def arrive(self, request: SimRequest, *, now_s: float) -> Move:
        return self._player.arrive(request, now_s=now_s)

    def hear(self, heartbeat: Heartbeat, *, at_s: float, now_s: float) -> Move:
        for sample in heartbeat.samples:
            self.busy_us += sample.duration_us
            self.weighted += sample.duration_us * sample.decoding
            self.batch_max = max(self.batch_max, sample.decoding)
        return self._player.hear(heartbeat, at_s=at_s, now_s=now_s)

    def wake(self, *, now_s: float) -> Move:
        return self._player.wake(now_s=now_s)


def _request(index: int, arrival: Arrival, latency_class: str, shared: set[int], speed: float) -> SimRequest:
    prompt_tokens = min(max(arrival.prompt_tokens, 1), MOST_PROMPT_TOKENS)
    request = SimRequest(index, arrival.at_s / speed, prompt_tokens, max(arrival.answer_tokens, 1), latency_class)
    request.tenant = arrival.tenant.replace("/", "-").replace(" ", "-") or DEFAULT_TENANT
    if arrival.blocks and arrival.blocks[0] in shared and prompt_tokens > SHARED_TOKENS:
        request.prefix, request.prefix_tokens = arrival.blocks[0], SHARED_TOKENS
    assert request.prefix == NO_PREFIX or request.prefix_tokens
    return request


def _outcome(policy: str, played: list[SimRequest], scenario: Scenario, watched: _Watched) -> Outcome:
    end_s = max((request.ended_s or request.at_s for request in played), default=0.0)
    seen = figures(played, duration_s=max(end_s, 1e-9))
    good = [request for request in played if _is_good(request, scenario.classes[request.latency_class])]
    tokens_s = [request.token_s for request in played if request.token_s is not None]
    gpu_hours = scenario.workers * end_s / 3600
    usd = gpu_hours * scenario.usd_per_gpu_hour
    return Outcome(
        policy=policy,
        requests=len(played),
        goodput_ratio=len(good) / max(len(played), 1),
        goodput_by_class=_by_class(played, good),
        rejected_ratio=seen.rejected,
        ttft_p50_ms=seen.ttft_p50_ms,
        ttft_p99_ms=seen.ttft_p99_ms,
        tpot_p50_ms=seen.tpot_p50_ms,
        tpot_p99_ms=1000 * float(np.percentile(tokens_s, 99)) if tokens_s else 0.0,
        batch_mean=watched.weighted / max(watched.busy_us, 1),
        batch_max=watched.batch_max,
        busy_ratio=min(watched.busy_us / 1e6 / max(scenario.workers * end_s, 1e-9), 1.0),
        gpu_hours=gpu_hours,
        usd=usd,
        usd_per_1k_good=1000 * usd / len(good) if good else None,
    )


def _by_class(played: list[SimRequest], good: list[SimRequest]) -> dict[str, float]:
    offered, answered = (Counter(request.latency_class for request in some) for some in (played, good))
    return {name: answered[name] / count for name, count in sorted(offered.items())}


def _is_good(request: SimRequest, rules: ClassPolicy) -> bool:
    """Answered within the SLO of its class, or within its deadline where it has none."""
    if request.first_s is None or request.ended_s is None:
        return False
    if rules.ttft_ms is None:
        return request.ended_s - request.at_s <= rules.target_ms / 1000
    token_s = request.token_s
    keeps_pace = rules.tpot_ms is None or token_s is None or token_s <= rules.tpot_ms / 1000
    return request.first_s - request.at_s <= rules.ttft_ms / 1000 and keeps_pace
