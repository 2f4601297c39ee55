"""Batches and their requests brought together: a batch's row does not list them, the events of their dispatch name it.

The processor tells the dispatches first and the batch after them, on one partition, so that little is kept for long.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from sinks.otel.sampling import Sampling
from sinks.otel.spans import batch_span, request_context
from topics.trace_rows import BatchRow, EventRow

WAIT_MS: Final = 10_000
"""A batch whose requests have not all been told after so long is exported with those that were."""
MAX_OPEN: Final = 20_000


@dataclass(slots=True)
class _Open:
    since_ms: int
    told: int = 0
    members: list[SpanContext] = field(default_factory=list)
    row: BatchRow | None = None


class Batches:
    """Batches of which something is still to come. Times are those of the trace records, in milliseconds."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def on_dispatched(self, row: EventRow, *, at_ms: int) -> list[ReadableSpan]:
        """A request was dispatched in a batch. Returns the batch's span if that was the last of them."""
        if row.batch_size < 2:
            return []
        batch = self._of(row.batch_id, at_ms)
        batch.told += 1
        if self._sampling.keeps_trace(row.trace_id, row.trace_flags, row.origin):
            batch.members.append(request_context(row.trace_id, row.origin))
        return self._closed(row.batch_id, batch)

    def on_batch(self, row: BatchRow, *, at_ms: int) -> list[ReadableSpan]:
        """A batch was formed. Returns its span if all of its requests are known. A batch of one has none."""
        if row.size < 2:
            return []
        batch = self._of(row.batch_id, at_ms)
        batch.row = row
        return self._closed(row.batch_id, batch)

    def overdue(self, *, now_ms: int) -> list[ReadableSpan]:
        """Spans of batches that are not waited for any longer."""
        spans: list[ReadableSpan] = []
        while self._open:
            batch = next(iter(self._open.values()))
            if now_ms - batch.since_ms < WAIT_MS and len(self._open) <= MAX_OPEN:
                break
            spans += _span(self._open.popitem(last=False)[1])
        return spans

    def _of(self, batch_id: str, at_ms: int) -> _Open:
        return self._open.setdefault(batch_id, _Open(at_ms))

    def _closed(self, batch_id: str, batch: _Open) -> list[ReadableSpan]:
        if batch.row is None or batch.told < batch.row.size:
            return []
        del self._open[batch_id]
        return _span(batch)


def _span(batch: _Open) -> list[ReadableSpan]:
    return [batch_span(batch.row, batch.members)] if batch.row is not None and batch.members else []
