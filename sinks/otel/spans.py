"""Rows to spans. Pure: the spans of a row follow from it alone, and are the same whenever it is read again."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from sinks.otel import attributes
from sinks.otel.attributes import Attributes
from topics.spans import FIRST_TOKEN, Station, span_of, trace_of
from topics.trace_rows import BatchRow, RequestRow

SCOPE: Final = InstrumentationScope("millrace")
PROCESSOR: Final = "millrace-processor"
WORKER: Final = "millrace-worker"
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNHURT: Final = frozenset({"completed", "cancelled", "returned", "parked"})
"""Outcomes of spans that did not fail: what a worker hands back goes on elsewhere."""


def spans_of(row: RequestRow) -> list[ReadableSpan]:
    """The spans that a row tells: its attempt's, and the request's if it is the final one."""
    return list(_Tree(row).spans())


def batch_span(row: BatchRow, members: Iterable[SpanContext]) -> ReadableSpan:
    """The span of a batch, from the moment its longest-waiting request was queued, linked to its requests."""
    return ReadableSpan(
        name=f"batch {row.model}",
        context=batch_context(row.batch_id),
        resource=resource_of(PROCESSOR, row.processor),
        attributes=attributes.of_batch(row),
        links=[Link(member) for member in members],
        kind=SpanKind.INTERNAL,
        start_time=(row.formed_ts - row.wait_max_us) * 1000,
        end_time=row.formed_ts * 1000,
        instrumentation_scope=SCOPE,
    )


def request_context(trace_id: bytes, origin: str) -> SpanContext:
    """Names the span of a whole request."""
    return _context(trace_of(trace_id, origin), span_of(origin, "request"))


def batch_context(batch_id: str) -> SpanContext:
    """Names the span of a batch."""
    return _context(trace_of(bytes(16), batch_id), span_of(batch_id, "batch"))


@lru_cache(maxsize=1024)
def resource_of(service: str, instance: str) -> Resource:
    """The process that a span is told to come from."""
    named = {"service.instance.id": instance} if instance else {}
    return Resource({"service.name": service, "service.namespace": "millrace", **named})


class _Tree:
    """The spans of one row."""

    def __init__(self, row: RequestRow) -> None:
        self._row = row
        self._origin = attributes.origin(row)
        self._trace = trace_of(row.trace_id, self._origin)
        self._request = request_context(row.trace_id, self._origin)
        self._attempt = _context(self._trace, span_of(self._origin, "attempt", row.attempt))

    def spans(self) -> Iterator[ReadableSpan]:
        row = self._row
        if row.final:
            yield self._whole()
        if row.admitted_us:
            yield self._part("admit", "admit", 0, row.admitted_us, attributes.of_admission(row))
        if row.batched_us and not row.hop:
            yield self._part("queue", "queue", row.admitted_us, row.batched_us, {})
        if not row.started_us:
            return
        yield self._dispatch()
        yield self._run()
        yield from self._engine()

    def _whole(self) -> ReadableSpan:
        row = self._row
        parent = _context(self._trace, row.parent_span, is_remote=True) if row.parent_span else None
        return self._span(
            f"process {row.lane_topic}",
            self._request,
            parent,
            0,
            row.finished_us,
            kind=SpanKind.CONSUMER,
            values=attributes.of_request(row),
            status=_status(row),
        )

    def _dispatch(self) -> ReadableSpan:
        row = self._row
        links = [Link(batch_context(row.batch_id))] if row.batch_size > 1 else []
        context = _context(self._trace, span_of(self._origin, "dispatch", row.attempt))
        values, begins = attributes.of_dispatch(row), row.batched_us or row.admitted_us
        return self._span(
            "dispatch", context, self._request, begins, row.started_us, SpanKind.PRODUCER, values, links=links
        )

    def _run(self) -> ReadableSpan:
        row = self._row
        events = [Event(FIRST_TOKEN, timestamp=self._at_ns(row.first_us))] if row.first_us else []
        return self._span(
            f"{attributes.operation_of(row)} {row.model}",
            self._attempt,
            self._request,
            row.started_us,
            row.finished_us,
            values=attributes.of_attempt(row),
            events=events,
            status=_status(row),
            service=WORKER,
        )

    def _engine(self) -> Iterator[ReadableSpan]:
        row = self._row
        if not row.first_us:
            return
        stretches: tuple[tuple[Station, int, int], ...] = (
            ("prefill", row.started_us, row.first_us),
            ("decode", row.first_us, row.last_us),
        )
        for station, begin_us, end_us in stretches:
            context = _context(self._trace, span_of(self._origin, station, row.attempt))
            yield self._span(station, context, self._attempt, begin_us, end_us, service=WORKER)

    def _part(self, name: str, station: Station, begin_us: int, end_us: int, values: Attributes) -> ReadableSpan:
        context = _context(self._trace, span_of(self._origin, station))
        return self._span(name, context, self._request, begin_us, end_us, values=values)

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        begin_us: int,
        end_us: int,
        kind: SpanKind = SpanKind.INTERNAL,
        values: Attributes | None = None,
        *,
        links: list[Link] | None = None,
        events: list[Event] | None = None,
        status: Status | None = None,
        service: str = PROCESSOR,
    ) -> ReadableSpan:
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=resource_of(service, self._row.worker if service == WORKER else ""),
            attributes=values or {},
            events=events or (),
            links=links or (),
            kind=kind,
            status=status or Status(),
            start_time=self._at_ns(begin_us),
            end_time=self._at_ns(max(begin_us, end_us)),
            instrumentation_scope=SCOPE,
        )

    def _at_ns(self, after_us: int) -> int:
        return (self._row.produced_ts + after_us) * 1000


def _status(row: RequestRow) -> Status:
    if row.outcome in _UNHURT:
        return Status()
    return Status(StatusCode.ERROR, row.error_code or row.outcome)


def _context(trace_id: bytes, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id), span_id, is_remote=is_remote, trace_flags=_SAMPLED)
