"""How far requests to a broker are kept apart."""

import pytest

from pipeline.runtime.pacing import LONGEST_S, SHORTEST_S, Pace


def paced(*, cores: float, seconds: float = 1.0) -> Pace:
    """A pace that has seen a process use `cores` for a while."""
    pace = Pace()
    pace.begin(100.0, cpu_s=7.0)
    pace.begin(100.0 + seconds, cpu_s=7.0 + cores * seconds)
    return pace


@pytest.mark.parametrize(
    ("cores", "interval_s"), [(0.1, SHORTEST_S), (0.35, (SHORTEST_S + LONGEST_S) / 2), (0.9, LONGEST_S)]
)
def test_requests_are_kept_further_apart_where_cpu_is_scarce(cores: float, interval_s: float) -> None:
    assert paced(cores=cores).rest_s(101.0) == pytest.approx(interval_s)


def test_a_lone_request_does_not_wait() -> None:
    assert paced(cores=0.9).rest_s(102.0) == 0


def test_use_is_not_judged_by_a_moment() -> None:
    pace = paced(cores=0.1)
    pace.begin(101.01, cpu_s=7.2)
    assert pace.rest_s(101.01) == pytest.approx(SHORTEST_S)
