"""A short part of what `make bench-batching` measures, on one seed."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.simulation.rtc.world import Silence, Traffic
from tests.simulation import rtc_gates
from tests.simulation.rtc_cells import Cell, play_baseline, play_core, play_product, traffic_of
from tests.simulation.rtc_tuning import class_cell
from tests.simulation.verdicts import at_least, at_most, worst

SEED = 101


@pytest.mark.slow
def test_frozen_figures_are_those_of_their_configurations() -> None:
    cell = Cell(shape="poisson", load=0.3)
    figures = rtc_gates.frozen()[cell.key]["fixed"]

    results = play_baseline("triton", figures["options"], cell, SEED)

    assert results.goodput() == pytest.approx(figures["goodput"], rel=0.02)
    assert 1000 * results.latency_s(0.5) == pytest.approx(figures["p50_ms"], rel=0.02)


def test_little_traffic_is_served_as_if_nothing_were_batched() -> None:
    assert all(gate.holds for gate in rtc_gates.r1(SEED))


@pytest.mark.slow
def test_the_scheduler_and_its_controller_alone_do_the_same() -> None:
    cell = Cell(shape="mmpp", load=0.3, duration_s=4.0)

    assert play_product(cell, SEED).goodput() == pytest.approx(play_core(cell, SEED).goodput(), abs=0.003)


@pytest.mark.slow
def test_overload_does_not_collapse() -> None:
    full = play_product(Cell(shape="poisson", load=1.0, duration_s=3.0), SEED).good_per_s
    twice = play_product(Cell(shape="poisson", load=2.0, duration_s=3.0), SEED).good_per_s

    assert twice >= 0.98 * full


@pytest.mark.slow
def test_urgent_classes_are_protected_when_others_overload_the_pool() -> None:
    results = play_product(replace(class_cell("poisson", 1.4), duration_s=4.0), SEED)

    assert results.goodput("realtime") >= 0.97
    assert results.goodput("interactive") >= 0.98


@pytest.mark.slow
def test_what_waits_is_served_in_full_batches_when_nothing_arrives_any_more() -> None:
    """Batches take a second here, and arrivals are forgotten as fast: what is left of an overload is the load."""
    usual = class_cell("poisson", 1.4)
    engine = replace(usual.engine, base_s=20 * usual.engine.base_s, each_s=20 * usual.engine.each_s)
    slo_s = (("realtime", 1.2), ("interactive", 4.0), ("standard", 20.0))

    results = play_product(replace(usual, engine=engine, hop_s=0.04, slo_s=slo_s, duration_s=60.0), SEED)

    traffic = results.traffic
    late = [i for i, at_s in enumerate(traffic.arrivals_s) if at_s > 48.0 and traffic.classes[i] == "standard"]
    assert sum(map(results.is_good, late)) >= 0.98 * len(late) > 1000


@pytest.mark.slow
def test_a_silent_worker_gets_one_batch_beyond_its_credit_at_most() -> None:
    cell = Cell(shape="poisson", load=0.5, duration_s=4.0)
    results = play_product(cell, SEED, silence=Silence(workers=(0, 1, 2, 3), from_s=1.0, until_s=2.0))

    assert rtc_gates.beyond_credit(results) <= 1


def over_shards(cell: Cell, shares: list[float]) -> Traffic:
    """The traffic of a cell, these shares of it on each shard."""
    traffic = traffic_of(cell, SEED)
    drawn = np.random.default_rng(SEED).choice(len(shares), size=len(traffic.arrivals_s), p=shares)
    return replace(traffic, shards=drawn.tolist())


@pytest.mark.slow
@pytest.mark.parametrize(("load", "shares", "least"), [(0.85, [0.5, 0.5], 0.95), (0.7, [0.9, 0.1], 0.95)])
def test_shards_that_share_workers_lose_little(load: float, shares: list[float], least: float) -> None:
    cell = Cell(shape="poisson", load=load, duration_s=4.0)

    assert play_product(cell, SEED, over_shards(cell, shares), shards=len(shares)).goodput() >= least


@pytest.mark.slow
def test_light_tenants_do_not_notice_one_that_overloads_the_pool() -> None:
    cell = Cell(shape="poisson", load=1.4, duration_s=4.0)
    traffic = traffic_of(cell, SEED)
    rng = np.random.default_rng(SEED)
    tenants = ["heavy" if rng.random() < 0.6 else f"light{rng.integers(7)}" for _ in traffic.arrivals_s]

    results = play_product(cell, SEED, replace(traffic, tenants=tenants))

    assert min(results.goodput(tenant=f"light{number}") for number in range(7)) >= 0.97
    assert results.goodput() >= 0.6


def test_the_worst_of_all_seeds_is_kept() -> None:
    gates = [at_least("a", 2.0, 1.0), at_least("a", 1.1, 1.0), at_most("b", 1.0, 2.0), at_most("b", 3.0, 2.0)]

    assert [(gate.gate, gate.value, gate.holds) for gate in worst(gates)] == [("a", 1.1, True), ("b", 3.0, False)]
