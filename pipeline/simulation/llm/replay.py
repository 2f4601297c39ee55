"""What if: requests of a recorded trace, played through the scheduler or another way of feeding engines.

Engines are those of `pipeline.simulation.llm.replica`. Running work is never parked there, and runs on after its
deadline.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.simulation.llm.product import SchedulerPlayer
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.llm.traffic import SimRequest
from pipeline.simulation.llm.world import Move, Pool, World
from pipeline.simulation.outcomes import Run
from pipeline.simulation.scenario import Scenario
from processors.batching.modes import ControllerFactory
from processors.policy import ClassPolicy
from topics.fleet import Heartbeat

LEAST_DRAIN_S: Final = 60.0
MOST_DRAIN_S: Final = 7200.0
"""Whoever has a target beyond this after the last arrival, and no answer by then, is open at the end."""


def replay(requests: Sequence[SimRequest], scenario: Scenario, controllers: ControllerFactory) -> Run:
    """Play requests that have not been played; their stories are written into them."""
    assert isinstance(scenario.engine, EngineSpec)
    played = list(requests)
    duration_s = played[-1].at_s if played else 0.0
    pool = Pool(
        engines=(scenario.engine,) * scenario.workers,
        hop_s=scenario.hop_s,
        drain_s=drain_s(played, scenario.classes),
        priorities={name: rules.priority for name, rules in scenario.classes.items()},
    )
    player = SchedulerPlayer(
        hop_s=pool.hop_s, controllers=controllers, classes=scenario.classes, tenants=scenario.tenants
    )
    watched = _Watched(player)
    World(pool, seed=scenario.seed).run(watched, played, duration_s=duration_s)
    return Run(
        batch_mean=watched.weighted / max(watched.busy_us, 1),
        batch_max=watched.batch_max,
        busy_s=watched.busy_us / 1e6,
        over_limit=player.over_limit,
    )


def drain_s(requests: Sequence[SimRequest], classes: Mapping[str, ClassPolicy]) -> float:
    """Until the last request could no longer be answered within its SLO: its target, and the longest answer's pace."""
    longest_s = LEAST_DRAIN_S
    for name, rules in classes.items():
        answers = [request.answer_tokens for request in requests if request.latency_class == name]
        pace_s = (rules.tpot_ms or 0) / 1000 * max(answers, default=0)
        longest_s = max(longest_s, rules.target_ms / 1000 + pace_s)
    return min(longest_s, MOST_DRAIN_S)


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
        for sample in heartbeat.samples if heartbeat.seq > 1 else ():  # the first ones are the warm-up's
            self.busy_us += sample.duration_us
            self.weighted += sample.duration_us * sample.decoding
            self.batch_max = max(self.batch_max, sample.decoding)
        return self._player.hear(heartbeat, at_s=at_s, now_s=now_s)

    def wake(self, *, now_s: float) -> Move:
        return self._player.wake(now_s=now_s)
