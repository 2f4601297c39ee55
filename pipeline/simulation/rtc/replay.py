"""What if: requests of a recorded trace, played through the scheduler or another way of forming batches."""

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from pipeline.simulation.llm.traffic import SimRequest
from pipeline.simulation.outcomes import Run
from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.rtc.policies import ADAPTIVE, factory
from pipeline.simulation.rtc.pool import DEPLOYMENT, MODEL
from pipeline.simulation.rtc.product import SchedulerPlayer
from pipeline.simulation.rtc.world import Results, Traffic, World
from pipeline.simulation.scenario import Scenario
from processors.policy import ClassPolicy, Policy

_PATIENCE_MS: Final = 10**9


def replay(requests: Sequence[SimRequest], scenario: Scenario, policy: str) -> Run:
    """Play requests until all have ended; their stories are written into them."""
    engine = scenario.engine
    assert isinstance(engine, Engine)
    traffic = traffic_of(requests, scenario)
    player = SchedulerPlayer(
        traffic,
        engine,
        workers=scenario.workers,
        hop_s=scenario.hop_s,
        policy=_rules(scenario, are_patient=policy != ADAPTIVE),
        controllers=factory(policy, engine, tokens_each=fmean(traffic.tokens) if traffic.tokens else 0.0),
    )
    world = World(engine, workers=scenario.workers, hop_s=scenario.hop_s, seed=scenario.seed)
    results = world.run(player, traffic)
    _tell(results, requests)
    sizes = [len(batch.requests) for batch in results.batches]
    return Run(
        batch_mean=results.mean_size,
        batch_max=max(sizes, default=0),
        busy_s=sum(batch.service_s for batch in results.batches),
        over_limit=player.over_limit,
    )


def traffic_of(requests: Sequence[SimRequest], scenario: Scenario) -> Traffic:
    """Requests as the world of batches takes them."""
    return Traffic(
        arrivals_s=[request.at_s for request in requests],
        classes=[request.latency_class for request in requests],
        tokens=[request.prompt_tokens for request in requests],
        slo_s={name: rules.target_ms / 1000 for name, rules in scenario.classes.items()},
        duration_s=requests[-1].at_s if requests else 0.0,
        tenants=[request.tenant for request in requests],
    )


def _rules(scenario: Scenario, *, are_patient: bool) -> Policy:
    """The scenario's classes and tenants. Baselines have their own rules for what is too late, so nothing expires."""
    classes = {name: _patient(rules) if are_patient else rules for name, rules in scenario.classes.items()}
    return Policy(
        model=MODEL,
        classes=classes,
        stable=DEPLOYMENT,
        longest_deadline_ms=max(rules.deadline_ms for rules in classes.values()),
        tenants=scenario.tenants,
        hop_s=scenario.hop_s,
    )


def _patient(rules: ClassPolicy) -> ClassPolicy:
    return ClassPolicy(
        priority=rules.priority,
        deadline_ms=_PATIENCE_MS,
        queue_limit=rules.queue_limit,
        yields=rules.yields,
        e2e_ms=rules.target_ms,
    )


def _tell(results: Results, requests: Sequence[SimRequest]) -> None:
    """An answer comes whole: its first token when all of it does."""
    for index, answered_s in results.answered_s.items():
        requests[index].first_s = requests[index].ended_s = answered_s
    for index, at_s in results.turned_away_s.items():
        requests[index].turned_away_s = at_s
