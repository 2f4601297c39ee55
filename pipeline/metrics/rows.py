"""Measures out of trace rows: what the account will say about requests, batches and engine steps, summed up.

Rows are counted when the broker has them, a chunk at a time: about a microsecond each, and nothing where a request
waits. A row that is told twice, as after a take-over of a request that had ended, counts twice here, and once in SQL.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.metrics import slo
from pipeline.metrics.tally import Tally
from topics.trace_rows import TABLES, BatchRow, EventRow, RequestRow, Row, StepRow

_NO_TARGETS: Final = slo.Targets()
_TABLE_OF: Final[Mapping[type, str]] = {row: table for table, row in TABLES.items()}


class RowTally:
    """Feeds the rows of one process to its tally.

    Args:
        tally: gets the counts.
        targets: of each latency class.
    """

    def __init__(self, tally: Tally, targets: slo.TargetsByClass) -> None:
        self._tally = tally
        self._targets = targets

    def __call__(self, rows: Sequence[Row]) -> None:
        """Count rows that are on the trace topic."""
        for kind, count in Counter(map(type, rows)).items():
            self._tally.count("millrace_trace_rows_total", (_TABLE_OF[kind],), count)
        for row in rows:
            if isinstance(row, EventRow):
                self._event(row)
            elif isinstance(row, RequestRow):
                self._request(row)
            elif isinstance(row, BatchRow):
                self._tally.observe("millrace_batch_size", (row.deployment,), row.size)
            elif isinstance(row, StepRow):
                self._step(row)

    def _event(self, row: EventRow) -> None:
        if row.kind == "request.dispatched":
            self._tally.count("millrace_dispatches_total", (row.deployment, row.reason))
        elif row.kind == "attempt.started" and row.reason != "fresh":
            self._tally.count("millrace_takeovers_total", (row.deployment, row.reason))

    def _request(self, row: RequestRow) -> None:
        tally = self._tally
        if row.deployment:
            tally.count("millrace_tokens_total", (row.deployment, "in"), row.tokens_in)
            tally.count("millrace_tokens_total", (row.deployment, "out"), row.tokens_out)
        if not row.final:
            return
        lane = (row.model, row.latency_class)
        tally.count("millrace_requests_total", (*lane, row.outcome))
        if slo.counts(row):
            tally.count("millrace_slo_requests_total", lane)
            is_met = slo.is_met(row, self._targets.get(row.latency_class, _NO_TARGETS))
            tally.count("millrace_slo_misses_total", lane, 0 if is_met else 1)
        if row.outcome == "completed":
            tally.observe("millrace_request_seconds", lane, row.finished_us / 1e6)
        if row.answer_first_us:
            tally.observe("millrace_ttft_seconds", lane, row.answer_first_us / 1e6)

    def _step(self, row: StepRow) -> None:
        self._tally.count("millrace_engine_busy_seconds_total", (row.deployment, row.worker), row.busy_us / 1e6)
