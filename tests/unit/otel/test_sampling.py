"""Who decides whether a trace is exported."""

import pytest

from sinks.otel.sampling import Sampling
from tests.unit.metrics.rows import ORIGIN, a_request
from topics.trace_rows import NO_TRACE

TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
OURS = [f"inference.requests.m.bulk/0/{offset}" for offset in range(2000)]


@pytest.mark.parametrize(("flags", "kept"), [(1, True), (3, True), (0, False), (2, False)])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_producer_that_brings_a_trace_has_decided(flags: int, kept: bool, ratio: float) -> None:
    assert Sampling(ratio=ratio).keeps_trace(TRACE, flags, ORIGIN) is kept


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_the_ratio_draws_among_the_others(ratio: float) -> None:
    kept = sum(Sampling(ratio=ratio).keeps_trace(NO_TRACE, 0, origin) for origin in OURS)
    assert kept / len(OURS) == pytest.approx(ratio, abs=0.04)


def test_a_higher_ratio_keeps_what_a_lower_one_keeps() -> None:
    low, high = Sampling(ratio=0.2), Sampling(ratio=0.6)
    kept = {origin for origin in OURS if low.keeps_trace(NO_TRACE, 0, origin)}
    assert kept < {origin for origin in OURS if high.keeps_trace(NO_TRACE, 0, origin)}


@pytest.mark.parametrize("outcome", ["failed", "expired"])
def test_errors_are_kept_unless_they_are_not_wanted(outcome: str) -> None:
    row = a_request(outcome=outcome)
    assert Sampling(ratio=0.0).keeps_request(row)
    assert not Sampling(ratio=0.0, keep_errors=False).keeps_request(row)


def test_an_attempt_before_the_last_one_is_no_error_of_the_request() -> None:
    assert not Sampling(ratio=0.0).keeps_request(a_request(outcome="failed", final=0))
