import pytest

from processors.batching.knobs import hold_s_of, knobs_of, utilisation_of
from processors.policy import ClassPolicy


@pytest.mark.parametrize(("slo_s", "utilisation"), [(0.06, 0.9), (0.2, 0.9), (2.0, 0.8), (3600.0, 0.6)])
def test_loose_targets_trade_latency_for_capacity(slo_s: float, utilisation: float) -> None:
    assert utilisation_of(slo_s) == pytest.approx(utilisation, abs=0.005)


def test_nobody_is_held_longer_than_arrivals_are_remembered() -> None:
    assert hold_s_of(0.2) == pytest.approx(0.07)
    assert hold_s_of(3600.0) == 1.0


def test_the_slo_is_the_target_of_the_class() -> None:
    rules = ClassPolicy(priority=1, deadline_ms=5000, queue_limit=10, e2e_ms=200, yields=True)

    assert knobs_of(rules).slo_s == 0.2
    assert knobs_of(rules).yields
