"""Measures of rows."""

from pipeline.metrics.rows import RowTally
from pipeline.metrics.slo import Targets
from pipeline.metrics.tally import Labels, Tally
from tests.unit.metrics.rows import a_batch, a_rejection, a_request, a_second_of_steps, an_event
from topics.measures import Name, Process
from topics.trace_rows import Row

TARGETS = {"interactive": Targets(ttft_ms=100, tpot_ms=100)}
LANE = ("m", "interactive")


def counted(process: Process, *rows: Row) -> Tally:
    tally = Tally(process)
    RowTally(tally, TARGETS)(rows)
    return tally


def values(tally: Tally, name: Name) -> dict[Labels, float]:
    return tally.values(name)


def test_a_final_row_is_a_request_with_its_outcome_times_and_slo() -> None:
    tally = counted("worker", a_request(), a_request(first_us=90_000, last_us=90_000))
    assert values(tally, "millrace_requests_total") == {(*LANE, "completed"): 2}
    assert values(tally, "millrace_slo_requests_total") == {LANE: 2}
    assert values(tally, "millrace_slo_misses_total") == {LANE: 1}
    assert tally.histograms("millrace_request_seconds")[LANE].total == 0.5
    assert sum(tally.histograms("millrace_ttft_seconds")[LANE].counts) == 2


def test_a_continued_answer_is_timed_from_its_first_token_and_only_its_own_tokens_count() -> None:
    tally = counted("worker", a_request(continued=4, continued_first_us=50_000, continued_last_us=90_000))
    assert tally.histograms("millrace_ttft_seconds")[LANE].total == 0.05
    assert values(tally, "millrace_slo_misses_total") == {LANE: 0}
    assert values(tally, "millrace_tokens_total")[("m@v1", "out")] == 3


def test_an_attempt_that_was_given_up_is_no_request_and_its_tokens_count() -> None:
    tally = counted("worker", a_request(final=0, outcome="engine_dead"))
    assert values(tally, "millrace_requests_total") == {}
    assert values(tally, "millrace_tokens_total") == {("m@v1", "in"): 5, ("m@v1", "out"): 3}


def test_a_lane_without_misses_says_so_from_its_first_request_on() -> None:
    assert values(counted("worker", a_request(first_us=1, last_us=2)), "millrace_slo_misses_total") == {LANE: 0}


def test_a_rejection_counts_as_ended_and_takes_no_time() -> None:
    tally = counted("processor", a_rejection())
    assert values(tally, "millrace_requests_total") == {(*LANE, "rejected"): 1}
    assert tally.histograms("millrace_request_seconds") == {}


def test_dispatches_go_by_reason_and_batches_by_size() -> None:
    event = an_event("request.dispatched", deployment="m@v1", reason="fits")
    tally = counted("processor", event, event, a_batch())
    assert values(tally, "millrace_dispatches_total") == {("m@v1", "fits"): 2}
    assert tally.histograms("millrace_batch_size")[("m@v1",)].total == 2


def test_only_attempts_that_resume_or_restart_are_takeovers() -> None:
    rows = [an_event("attempt.started", deployment="m@v1", reason=mode) for mode in ("fresh", "resume", "restart")]
    assert values(counted("worker", *rows), "millrace_takeovers_total") == {
        ("m@v1", "resume"): 1,
        ("m@v1", "restart"): 1,
    }


def test_busy_time_is_in_seconds_and_rows_are_counted_by_table() -> None:
    tally = counted("worker", a_second_of_steps(), a_second_of_steps(), a_request())
    assert values(tally, "millrace_engine_busy_seconds_total") == {("m@v1", "w1"): 1.8}
    assert values(tally, "millrace_trace_rows_total") == {("engine_steps",): 2, ("requests",): 1}
