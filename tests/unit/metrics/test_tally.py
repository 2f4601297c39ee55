"""Counting by the catalogue."""

import pytest

from pipeline.metrics.tally import MAX_SERIES, OTHER, Histogram, Tally


def test_a_value_at_a_bound_belongs_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 1, 1], 12.0)


def test_what_the_process_does_not_export_is_not_counted() -> None:
    tally = Tally("recorder")
    tally.count("millrace_requests_total", ("m", "bulk", "completed"))
    tally.observe("millrace_batch_size", ("m@v1",), 3)
    assert tally.values("millrace_recorder_rows_total") == {}


def test_sources_of_the_same_labels_are_added_to_what_is_counted() -> None:
    tally = Tally("worker")
    tally.count("millrace_dead_letters_total", ("worker", "undecodable"), 2)
    for _ in range(2):
        tally.ask("millrace_dead_letters_total", lambda: {("worker", "undecodable"): 1.0})
    assert tally.values("millrace_dead_letters_total") == {("worker", "undecodable"): 4.0}


@pytest.mark.parametrize("over", [1, 50])
def test_labels_without_bound_are_counted_together(over: int) -> None:
    tally = Tally("worker")
    for number in range(MAX_SERIES + over):
        tally.count("millrace_takeovers_total", ("m@v1", f"mode-{number}"))
    values = tally.values("millrace_takeovers_total")
    assert (len(values), values[(OTHER, OTHER)]) == (MAX_SERIES + 1, over)
