"""The product's scheduler in virtual time, in front of engines that batch continuously: a short part of the gates."""

from typing import Any

import pytest

from pipeline.simulation.llm.measure import STEADY, figures, play
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.llm.traffic import BULK, SimRequest, requests
from tests.simulation.llm_cells import SEEDS, Baseline, Cell, baseline_figures, frozen_figures, maker

pytestmark = pytest.mark.slow
SHORT_S = 25.0

TABLE: list[tuple[Baseline, str, int, float, float, float, float]] = [
    ("least_outstanding", "poisson", 90, 100.0, 50, 252, 19),
    ("least_outstanding", "poisson", 110, 94.9, 80, 371, 35),
    ("least_outstanding", "poisson", 130, 11.9, 443, 3932, 72),
    ("least_outstanding", "poisson", 160, 0.8, 7876, 22166, 83),
    ("least_outstanding", "mmpp", 90, 77.8, 216, 1687, 25),
    ("least_outstanding", "mmpp", 110, 40.9, 672, 4027, 48),
    ("least_outstanding", "mmpp", 130, 24.6, 3021, 9602, 66),
    ("aimd", "poisson", 130, 4.1, 6548, 14312, 41),
    ("gate", "poisson", 130, 16.1, 1913, 15037, 51),
    ("gate_ttl", "poisson", 130, 34.1, 643, 1795, 48),
    ("gate_ttl", "poisson", 160, 18.5, 1046, 2139, 46),
    ("gate_ttl", "mmpp", 110, 63.8, 388, 2191, 31),
    ("static_cap", "poisson", 130, 85.1, 538, 795, 40),
]
"""Goodput in %, TTFT p50 and p99 and TPOT p50 in ms of these policies as first measured, mean of the seeds."""


def mean(baseline: Baseline, cell: Cell, name: str) -> float:
    return sum(float(getattr(frozen_figures(baseline, cell, seed), name)) for seed in SEEDS) / len(SEEDS)


@pytest.mark.parametrize(("baseline", "shape", "rate", "goodput", "p50", "p99", "tpot"), TABLE)
def test_the_frozen_baselines_are_those_first_measured(
    baseline: Baseline, shape: Any, rate: float, goodput: float, p50: float, p99: float, tpot: float
) -> None:
    cell = Cell(shape, rate)
    assert 100 * mean(baseline, cell, "goodput") == pytest.approx(goodput, rel=0.02, abs=0.1)
    assert mean(baseline, cell, "ttft_p50_ms") == pytest.approx(p50, rel=0.04)
    assert mean(baseline, cell, "ttft_p99_ms") == pytest.approx(p99, rel=0.04)
    assert mean(baseline, cell, "tpot_p50_ms") == pytest.approx(tpot, rel=0.02, abs=0.5)


def test_the_world_plays_as_it_did_when_baselines_were_frozen() -> None:
    cell = Cell("poisson", 110)
    assert baseline_figures("least_outstanding", cell, 101) == frozen_figures("least_outstanding", cell, 101)


def test_overload_serves_most_of_what_can_be_served() -> None:
    traffic, capped = (requests("poisson", 140.0, SHORT_S, 101) for _ in range(2))
    play(traffic, duration_s=SHORT_S, seed=101)
    play(capped, duration_s=SHORT_S, seed=101, controllers=maker("static_cap", Cell("poisson", 130)))
    ours, theirs = figures(traffic, duration_s=SHORT_S), figures(capped, duration_s=SHORT_S)
    assert ours.goodput >= 0.88
    assert ours.goodput >= 1.05 * theirs.goodput
    assert ours.refused >= 0.5


def test_steps_four_times_as_large_change_little() -> None:
    goodputs = []
    for engine in (STEADY, EngineSpec(step_tokens=8192)):
        traffic = requests("mmpp", 80.0, SHORT_S, 102)
        play(traffic, duration_s=SHORT_S, seed=102, engine=engine)
        goodputs.append(figures(traffic, duration_s=SHORT_S).goodput)
    assert goodputs[0] == pytest.approx(goodputs[1], abs=0.015)


def test_bulk_fills_the_gaps_and_disturbs_nobody() -> None:
    engine = EngineSpec(by_priority=True)
    online = requests("poisson", 40.0, SHORT_S, 103)
    jobs = requests("poisson", 60.0, SHORT_S, 104, latency_class=BULK)
    both = sorted([*online, *(SimRequest(0, 0.0, r.prompt_tokens, r.answer_tokens, BULK) for r in jobs)], key=_at)
    for index, request in enumerate(both):
        request.index = index
    play(both, duration_s=SHORT_S, seed=103, engine=engine)
    assert figures(online, duration_s=SHORT_S).goodput >= 0.985
    assert all(request.turned_away_s is None for request in both if request.latency_class == BULK)
    assert sum(request.ended_s is not None for request in both if request.latency_class == BULK) > 300


def _at(request: SimRequest) -> float:
    return request.at_s
