"""What counts for the SLO, and what keeps it."""

from typing import Any

import pytest

from pipeline.metrics.slo import SENDERS_MISTAKES, Targets, counts, is_met
from tests.unit.metrics.rows import a_rejection, a_request
from topics.trace_rows import RequestRow


@pytest.mark.parametrize(
    ("targets", "met"),
    [
        (Targets(), True),
        (Targets(ttft_ms=200, tpot_ms=20), True),
        (Targets(ttft_ms=199, tpot_ms=20), False),
        (Targets(ttft_ms=200, tpot_ms=19), False),
        (Targets(e2e_ms=250), True),
        (Targets(e2e_ms=249), False),
    ],
)
def test_a_completed_request_is_held_to_its_classs_targets(targets: Targets, met: bool) -> None:
    assert is_met(a_request(), targets) is met


@pytest.mark.parametrize(
    ("targets", "met"),
    [
        (Targets(ttft_ms=50), True),
        (Targets(ttft_ms=49), False),
        (Targets(tpot_ms=32), True),
        (Targets(tpot_ms=31), False),
    ],
)
def test_an_answer_of_several_attempts_is_held_to_them_as_a_whole(targets: Targets, met: bool) -> None:
    continued = a_request(continued=4, continued_first_us=50_000, continued_last_us=90_000)  # 7 tokens in 190 ms
    assert is_met(continued, targets) is met


@pytest.mark.parametrize("outcome", ["failed", "expired", "rejected"])
def test_what_did_not_complete_missed(outcome: str) -> None:
    assert not is_met(a_request(outcome=outcome), Targets())


def test_one_token_has_no_gaps() -> None:
    assert is_met(a_request(tokens_out=1), Targets(ttft_ms=500, tpot_ms=1))


@pytest.mark.parametrize(
    ("row", "does"),
    [
        (a_request(), True),
        (a_request(outcome="expired", error_code="deadline_exceeded"), True),
        (a_rejection(), True),
        (a_rejection(error_code="invalid_request"), False),
        (a_rejection(error_code="context_length_exceeded"), False),
        (a_request(outcome="cancelled", error_code="cancelled"), False),
    ],
)
def test_senders_mistakes_and_cancellations_do_not_count(row: RequestRow, does: bool) -> None:
    assert counts(row) is does


def test_every_request_error_is_a_senders_mistake() -> None:
    known: Any = {"invalid_request", "model_not_found", "id_conflict", "body_too_large"}
    assert known <= SENDERS_MISTAKES
    assert not {"queue_full", "rate_limited", "engine_dead", "internal_error"} & SENDERS_MISTAKES
