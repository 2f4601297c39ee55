"""What if: traces through engines that batch continuously."""

import msgspec
import numpy as np
import pytest

from pipeline.simulation.llm.replay import MOST_DRAIN_S, drain_s
from pipeline.simulation.llm.replica import EngineSpec, Replica
from pipeline.simulation.llm.traffic import SimRequest
from pipeline.simulation.load import requests_of
from pipeline.simulation.playing import STREAMING, play
from pipeline.simulation.traces import BLOCK_TOKENS, Arrival
from processors.policy import TenantPolicy
from tests.unit.simulation.scenarios import NIGHTLY, PREMIUM, arrivals, scenario

BOTH = {"classes": {"premium": PREMIUM, "nightly": NIGHTLY}, "mix": {"premium": 1.0, "nightly": 3.0}}


@pytest.mark.parametrize("policy", STREAMING)
def test_every_way_plays_classes_of_any_name(policy: str) -> None:
    outcome = play(arrivals(40, every_s=0.1), scenario(**BOTH), policy)
    assert outcome.goodput_by_class == {"premium": 1.0, "nightly": 1.0}
    assert (outcome.rejected_ratio, outcome.open_at_end) == (0.0, 0)
    assert outcome.batch_max <= 40, "batches of the warm-up are none"


def test_requests_are_judged_by_the_target_of_their_class() -> None:
    trace = arrivals(20, every_s=0.5)
    strict = msgspec.structs.replace(PREMIUM, tpot_ms=1)
    assert play(trace, scenario(), "least-outstanding").goodput_ratio == 1.0
    assert play(trace, scenario(classes={"premium": strict}), "least-outstanding").goodput_ratio == 0.0


def test_a_learned_limit_is_learned_from_the_target_of_the_class() -> None:
    """An hour of patience lets the limit grow; a target that nothing meets brings it down."""
    trace = arrivals(600, every_s=0.005)
    patient = msgspec.structs.replace(PREMIUM, ttft_ms=3_600_000, tpot_ms=1000, deadline_ms=7_200_000)
    hasty = msgspec.structs.replace(patient, tpot_ms=1)
    grown, cut = (play(trace, scenario(classes={"premium": rules}), "aimd") for rules in (patient, hasty))
    assert cut.batch_mean < 32 < grown.batch_mean


def test_engines_order_their_work_by_class_as_those_of_production_do() -> None:
    trace = arrivals(200, every_s=0.001, prompt_tokens=800, answer_tokens=1)
    crowd = scenario(**{**BOTH, "mix": {"premium": 1.0, "nightly": 9.0}})
    assert play(trace, crowd, "least-outstanding").goodput_by_class["premium"] == 1.0
    blind = msgspec.structs.replace(crowd, engine=EngineSpec(noise=0.0))
    assert play(trace, blind, "least-outstanding").goodput_by_class["premium"] < 0.5


def test_limits_of_tenants_hold() -> None:
    trace = [
        Arrival(at_s=0.01 * n, prompt_tokens=100, answer_tokens=5, tenant="loud" if n % 2 else "quiet")
        for n in range(100)
    ]
    limited = scenario(tenants={"loud": TenantPolicy(concurrent=1)})
    for policy in ("adaptive", "cap-64"):
        outcome = play(trace, limited, policy)
        assert outcome.goodput_by_tenant["quiet"] == 1.0
        assert 0 < outcome.goodput_by_tenant["loud"] < 1
        assert outcome.limited_ratio == outcome.rejected_ratio > 0


def test_weights_of_tenants_decide_who_is_served_first() -> None:
    trace = [
        Arrival(at_s=0.001 * n, prompt_tokens=400, answer_tokens=100, tenant="heavy" if n % 2 else "light")
        for n in range(600)
    ]
    outcome = play(trace, scenario(tenants={"heavy": TenantPolicy(weight=8.0)}), "adaptive")
    assert outcome.goodput_by_tenant["heavy"] > 1.3 * outcome.goodput_by_tenant["light"]


def test_work_with_a_late_target_is_played_to_its_end() -> None:
    """What is left when the last request comes takes longer than a minute, and its target is ten."""
    trace = arrivals(2000, every_s=0.001, prompt_tokens=1000, answer_tokens=100)
    nightly = scenario(classes={"nightly": NIGHTLY}, mix={"nightly": 1.0})
    outcome = play(trace, nightly, "adaptive")
    assert outcome.latency_p99_ms > 65_000
    assert (outcome.goodput_ratio, outcome.open_at_end) == (1.0, 0)


def test_a_run_ends_when_the_longest_target_has_passed() -> None:
    trace = arrivals(10, every_s=1.0, answer_tokens=3000)
    requests = requests_of(trace, scenario())
    assert drain_s(requests, {"premium": PREMIUM}) == 1.0 + 3000 * 0.050
    assert drain_s([], {"premium": PREMIUM}) == 60.0
    assert drain_s([], {"nightly": NIGHTLY}) == 600.0
    assert drain_s([], {"nightly": msgspec.structs.replace(NIGHTLY, e2e_ms=86_400_000)}) == MOST_DRAIN_S


def test_what_is_open_at_the_end_is_told() -> None:
    slow = EngineSpec(noise=0.0, fixed_s=30.0, by_priority=True)
    outcome = play(arrivals(3, every_s=0.1), scenario(engine=slow), "least-outstanding")
    assert (outcome.open_at_end, outcome.goodput_ratio) == (3, 0.0)


def test_shared_beginnings_are_as_long_as_the_trace_says() -> None:
    """Twelve turns of a conversation: of each prompt all is known but the last turn."""
    turns = [
        Arrival(
            at_s=20.0 * n, prompt_tokens=(n + 1) * BLOCK_TOKENS, answer_tokens=50, blocks=tuple(range(100, 101 + n))
        )
        for n in range(12)
    ]
    outcome = play(turns, scenario(), "adaptive")
    assert outcome.cached_ratio == pytest.approx(sum(range(12)) / sum(range(1, 13)))
    assert play(arrivals(5, every_s=1.0), scenario(), "adaptive").cached_ratio is None


def test_what_the_cache_has_no_room_for_is_computed_again() -> None:
    prompts = [
        Arrival(at_s=30.0 * n, prompt_tokens=8 * BLOCK_TOKENS, answer_tokens=10, blocks=tuple(range(first, first + 8)))
        for n, first in enumerate((100, 200, 100))
    ]
    roomy, tight = (
        play(prompts, scenario(engine=EngineSpec(noise=0.0, kv_tokens=tokens), context_tokens=5000), "adaptive")
        for tokens in (100_000, 4300)
    )
    assert roomy.cached_ratio is not None
    assert roomy.cached_ratio > 0.3
    assert tight.cached_ratio == 0.0


def test_cached_blocks_need_room_when_a_sequence_uses_them() -> None:
    """Two prompts with the same beginning do not fit beside each other: the second one waits, and nothing is undone."""
    long = SimRequest(0, 0.0, 4 * BLOCK_TOKENS + 10, 400, "premium", blocks=(1, 2, 3, 4))
    second = SimRequest(1, 0.0, 4 * BLOCK_TOKENS + 10, 5, "premium", blocks=(1, 2, 3, 4))
    engine = EngineSpec(noise=0.0, kv_tokens=6 * BLOCK_TOKENS, step_tokens=256)
    replica = Replica(engine, np.random.default_rng(0), {"premium": 0})
    replica.push(long)
    steps = 0
    while long.ended_s is None or second.ended_s is None:
        assert replica.start() is not None
        replica.finish(float(steps))
        steps += 1
        if steps == 20:
            replica.push(second)
    assert replica.preemptions == 0
    assert second.cached_tokens == 4 * BLOCK_TOKENS
    assert second.first_s is not None
    assert second.first_s > long.ended_s
