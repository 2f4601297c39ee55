"""No lane starves: under load, at every shard, whatever its requests need and whatever the others send."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.queueing.counters import COMPLETION_WEIGHT, PROMPT_WEIGHT
from tests.simulation.rtc_cells import Cell, play_product, traffic_of
from tests.unit.processors.shared_workers import BEAT_S, REPORT_S, SEQUENCES, STEP_S, SharedWorkers, Tenant

WARM_UP_S = 10.0
MEASURED_S = 20.0
REQUESTS_BEHIND = 3.0
"""So many requests of its own may a shard be behind what it is owed, before it goes first."""
UNSTEADY = 1.5
"""What is measured may be so many times what follows from averages."""
DEADLINE_S = 4.0


@st.composite
def tenants(draw: st.DrawFn) -> list[Tenant]:
    """One at each of several shards that always asks for more than there is, and perhaps one more with little to do."""
    shards = draw(st.integers(2, 4))
    found = [
        Tenant(
            f"t{shard}",
            draw(st.sampled_from([1.0, 4.0])),
            requests_per_s=60.0,
            at=shard,
            prompt_tokens=draw(st.sampled_from([50, 200, 900])),
            answer_tokens=draw(st.sampled_from([10, 50, 100])),
            choices=draw(st.sampled_from([1, 2, 4, 10, SEQUENCES])),
        )
        for shard in range(shards)
    ]
    if draw(st.booleans()):
        found.append(Tenant("light", 1.0, requests_per_s=1.0, at=draw(st.integers(0, shards - 1))))
    return found


def cost_of(tenant: Tenant) -> float:
    return PROMPT_WEIGHT * tenant.prompt_tokens + COMPLETION_WEIGHT * tenant.choices * tenant.answer_tokens


def bound_s(tenant: Tenant, others: list[Tenant], served_per_s: float) -> float:
    """How long a tenant may be left out: until it has told that it waits, the longest answer has ended for each that
    goes first, and it is owed a few requests.
    """
    share = tenant.weight / sum(each.weight for each in others)
    longest_s = STEP_S * max(each.answer_tokens for each in others)
    return REPORT_S + len(others) * longest_s + REQUESTS_BEHIND * cost_of(tenant) / (share * served_per_s)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@given(tenants(), st.integers(1, 3), st.sampled_from([1600, 3000, 100_000]))
def test_no_shard_is_left_out_for_longer_than_its_share_and_the_longest_answers_explain(
    everyone: list[Tenant], workers: int, kv_tokens: int
) -> None:
    backlogged = [tenant for tenant in everyone if tenant.name != "light"]
    world = SharedWorkers(everyone, shards=len(backlogged), workers=workers, kv_tokens=kv_tokens)
    world.run(WARM_UP_S)
    world.longest_wait_s = [0.0] * len(backlogged)
    served_per_s = sum(world.run(MEASURED_S).values()) / MEASURED_S
    for shard, tenant in enumerate(backlogged):
        assert world.longest_wait_s[shard] <= UNSTEADY * bound_s(tenant, everyone, served_per_s)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_every_request_of_every_lane_leaves_by_its_deadline_though_a_more_urgent_one_fills_the_workers(
    shards: int,
) -> None:
    flood = Tenant("flood", 1.0, requests_per_s=60.0, latency_class="realtime")
    others = [
        Tenant(name, 1.0, requests_per_s=5.0, share=0.5, latency_class=name, choices=choices)
        for name, choices in (("interactive", 1), ("standard", 4), ("bulk", 2))
    ]
    world = SharedWorkers([flood, *others], shards=shards, deadline_s=DEADLINE_S)
    world.run(WARM_UP_S + MEASURED_S)
    assert max(world.longest_stay_s.values()) <= DEADLINE_S + 2 * BEAT_S


@pytest.mark.slow
def test_a_less_urgent_lane_of_one_shard_gets_all_that_a_more_urgent_one_of_another_leaves() -> None:
    urgent = Tenant("urgent", 1.0, requests_per_s=16.0, share=1.0, latency_class="realtime")
    patient = Tenant("patient", 1.0, requests_per_s=60.0, share=0.0, latency_class="standard", choices=4)
    world = SharedWorkers([urgent, patient], shards=2)
    world.run(WARM_UP_S)
    world.longest_wait_s = [0.0, 0.0]
    world.run(MEASURED_S)
    assert world.longest_wait_s[0] <= REPORT_S + STEP_S * urgent.answer_tokens
    assert world.longest_wait_s[1] <= UNSTEADY * (REPORT_S + STEP_S * patient.answer_tokens)
    assert world.occupied_ratio() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("shards", "workers"), [(2, 1), (4, 4), (8, 8)])
def test_every_shard_has_its_turns_at_engines_that_run_batches_to_completion(shards: int, workers: int) -> None:
    """Shards that hardly send anything take turns with one that sends three times what there is room for."""
    cell = Cell(shape="poisson", load=3.0, duration_s=1.0, workers=workers, slo_s=(("bulk", 3600.0),))
    traffic = traffic_of(cell, 1)
    shares = [0.9] + [0.1 / (shards - 1)] * (shards - 1)
    drawn = np.random.default_rng(1).choice(shards, size=len(traffic.arrivals_s), p=shares)
    results = play_product(cell, 1, replace(traffic, shards=drawn.tolist()), shards=shards)

    shard_of = {id(sent): int(drawn[sent.requests[0]]) for sent in results.batches}
    order = [shard_of[id(sent)] for sent in sorted(results.batches, key=lambda sent: sent.start_s)]
    while_all_wait = order[: len(order) // 2]
    for shard in range(shards):
        places = [place for place, which in enumerate(while_all_wait) if which == shard]
        longest = max(later - earlier for earlier, later in pairwise([0, *places, len(while_all_wait)]))
        assert longest <= 10 * 4 * shards
