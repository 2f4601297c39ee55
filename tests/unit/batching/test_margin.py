import random

import pytest

from processors.batching.margin import LATE_RATIO, MOST, Margin


def test_at_first_nothing_is_kept_free() -> None:
    assert Margin().ratio == 0.0


def test_it_stays_within_its_bounds() -> None:
    margin = Margin()
    margin.observe(is_late=False)
    assert margin.ratio == 0.0
    for _ in range(1000):
        margin.observe(is_late=True)
    assert margin.ratio == MOST


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_it_learns_what_keeps_most_in_time(spread: float) -> None:
    rng = random.Random(1)
    margin = Margin()
    late = [_is_late(margin, rng.gauss(0.0, spread)) for _ in range(20_000)]
    assert sum(late[2000:]) / len(late[2000:]) == pytest.approx(LATE_RATIO, rel=0.25)


def _is_late(margin: Margin, error: float) -> bool:
    """A request that was expected just in time, of a target of 1, and comes later by `error`."""
    is_late = error > margin.ratio
    margin.observe(is_late=is_late)
    return is_late
