"""Trace messages to spans: only tables and rows that make some are unpacked. Keeps the batches that are not whole."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.sdk.trace import ReadableSpan

from sinks.otel.batches import Batches
from sinks.otel.sampling import Sampling
from sinks.otel.spans import spans_of
from sinks.recorder.columns import message_of
from topics.arrow import scalar
from topics.headers import TABLE, Headers, header
from topics.trace_rows import BatchRow, EventRow, RequestRow

_TABLES: Final = frozenset({b"requests", b"events", b"batches"})
_DISPATCHED: Final = scalar("request.dispatched", pa.string())
_ALONE: Final = scalar(1, pa.uint64())


class SpanReader:
    """Makes the spans of trace messages, in the order of their partition."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._batches = Batches(sampling)

    def read(self, value: bytes | None, headers: Headers, *, at_ms: int) -> list[ReadableSpan]:
        """Spans of one message, written at `at_ms` by the broker's clock.

        Raises:
            CodecError: it is no message of the trace; the recorder puts it among the dead letters.
        """
        if header(headers, TABLE) not in _TABLES:
            return []
        message = message_of(value, headers, kp=0, ko=0, log_ts_ms=at_ms)
        spans = self._batches.overdue(now_ms=at_ms)
        if message is None:
            return spans
        if message.table == "requests":
            rows = (row for row in _rows(message.rows, RequestRow) if self._sampling.keeps_request(row))
            return spans + [span for row in rows for span in spans_of(row)]
        if message.table == "events":
            return spans + self._dispatched(message.rows, at_ms)
        return spans + [
            span for row in _rows(message.rows, BatchRow) for span in self._batches.on_batch(row, at_ms=at_ms)
        ]

    def _dispatched(self, events: pa.Table, at_ms: int) -> list[ReadableSpan]:
        of_batches = pc.and_(pc.equal(events["kind"], _DISPATCHED), pc.greater(events["batch_size"], _ALONE))
        rows = _rows(events.filter(of_batches), EventRow)
        return [span for row in rows for span in self._batches.on_dispatched(row, at_ms=at_ms)]


def _rows(table: pa.Table, kind: type[Any]) -> Iterator[Any]:
    """The rows of a table as the structs that they were; times are microseconds again."""
    names = [field.name for field in msgspec.structs.fields(kind)]
    columns = [_plain(table[name]).to_pylist() for name in names]
    for values in zip(*columns, strict=True):
        yield kind(**dict(zip(names, values, strict=True)))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
