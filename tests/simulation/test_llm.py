"""The product's scheduler in virtual time, in front of engines that batch continuously: a short part of the gates."""

import pytest

from pipeline.simulation.llm.measure import STEADY, figures, play
from pipeline.simulation.llm.replica import EngineSpec
from pipeline.simulation.llm.traffic import BULK, SimRequest, requests
from tests.simulation.llm_cells import Cell, baseline_figures, frozen_figures, maker

pytestmark = pytest.mark.slow
SHORT_S = 25.0


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
