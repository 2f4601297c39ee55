"""What if: traces through engines that run batches to completion."""

from itertools import pairwise

import msgspec
import pytest

from pipeline.simulation.playing import WHOLE, play
from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.traces import Arrival
from processors.policy import ClassPolicy, TenantPolicy
from tests.unit.simulation.scenarios import NIGHTLY, arrivals, scenario

SEARCH = ClassPolicy(priority=0, deadline_ms=10_000, queue_limit=2000, e2e_ms=100)
ENGINE = Engine(sigma=0.0, straggler_share=0.0)
QUIET = scenario(engine=ENGINE, classes={"search": SEARCH}, mix={"search": 1.0})


@pytest.mark.parametrize("policy", WHOLE)
def test_every_way_plays_classes_of_any_name(policy: str) -> None:
    outcome = play(arrivals(200, every_s=0.02), QUIET, policy)
    assert (outcome.goodput_ratio, outcome.open_at_end) == (1.0, 0)
    assert outcome.ttft_p50_ms is None
    assert 0 < outcome.latency_p50_ms < 100


def test_overload_is_turned_away_and_batches_grow() -> None:
    idle, busy, too_much = (
        play(arrivals(2000, every_s=every_s), QUIET, "adaptive") for every_s in (0.02, 0.001, 0.0006)
    )
    assert idle.batch_mean < busy.batch_mean <= too_much.batch_mean <= ENGINE.max_size
    assert busy.goodput_ratio == 1.0
    assert too_much.goodput_ratio + too_much.rejected_ratio == pytest.approx(1.0, abs=0.02)
    assert too_much.rejected_ratio > 0.05


def test_prompts_cost_what_the_deployment_says() -> None:
    costly = msgspec.structs.replace(QUIET, engine=Engine(sigma=0.0, straggler_share=0.0, token_s=1e-4))
    latencies = [
        play(arrivals(50, every_s=1.0, prompt_tokens=tokens), costly, "single").latency_p50_ms
        for tokens in (100, 200, 400)
    ]
    assert [long - short for short, long in pairwise(latencies)] == pytest.approx([10.0, 20.0], abs=0.1)


def test_limits_of_tenants_hold() -> None:
    trace = [
        Arrival(at_s=0.01 * n, prompt_tokens=10, answer_tokens=1, tenant="loud" if n % 2 else "quiet")
        for n in range(100)
    ]
    limited = msgspec.structs.replace(QUIET, tenants={"loud": TenantPolicy(requests_per_s=5.0)})
    for policy in ("adaptive", "cork"):
        outcome = play(trace, limited, policy)
        assert outcome.goodput_by_tenant["quiet"] == 1.0
        assert outcome.goodput_by_tenant["loud"] == pytest.approx(0.2, abs=0.05)
        assert outcome.limited_ratio == outcome.rejected_ratio > 0


def test_work_with_a_late_target_is_played_to_its_end() -> None:
    nightly = msgspec.structs.replace(QUIET, classes={"nightly": NIGHTLY}, mix={"nightly": 1.0})
    slow = msgspec.structs.replace(nightly, engine=Engine(base_s=2.0, sigma=0.0, straggler_share=0.0))
    outcome = play(arrivals(3000, every_s=0.001), slow, "adaptive")
    assert outcome.latency_p99_ms > 65_000
    assert (outcome.goodput_ratio, outcome.open_at_end) == (1.0, 0)
