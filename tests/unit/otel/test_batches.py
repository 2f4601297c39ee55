"""Batches and their requests brought together."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from sinks.otel import batches
from sinks.otel.batches import WAIT_MS, Batches
from sinks.otel.sampling import Sampling
from sinks.otel.spans import request_context
from tests.unit.metrics.rows import a_batch, an_event
from topics.trace_rows import NO_TRACE, EventRow

TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")


def dispatched(
    offset: int, *, size: int = 2, batch_id: str = "b1", flags: int = 0, trace: bytes = NO_TRACE
) -> EventRow:
    return an_event(
        "request.dispatched",
        origin=f"inference.requests.m.bulk/0/{offset}",
        batch_id=batch_id,
        batch_size=size,
        trace_id=trace,
        trace_flags=flags,
    )


def linked(spans: list[ReadableSpan]) -> list[list[object]]:
    return [[link.context for link in span.links] for span in spans]


def names(*offsets: int, trace: bytes = NO_TRACE) -> list[object]:
    return [request_context(trace, f"inference.requests.m.bulk/0/{offset}") for offset in offsets]


def test_a_batch_is_told_when_it_and_all_of_its_requests_were() -> None:
    found = Batches(Sampling())
    assert found.on_dispatched(dispatched(1), at_ms=0) == []
    assert found.on_dispatched(dispatched(2), at_ms=0) == []
    assert linked(found.on_batch(a_batch(), at_ms=0)) == [names(1, 2)]
    assert len(found) == 0


def test_the_batch_may_come_first() -> None:
    found = Batches(Sampling())
    found.on_batch(a_batch(), at_ms=0)
    found.on_dispatched(dispatched(1), at_ms=0)
    assert linked(found.on_dispatched(dispatched(2), at_ms=0)) == [names(1, 2)]


def test_only_sampled_requests_are_linked_and_a_batch_of_none_is_not_told() -> None:
    found = Batches(Sampling(ratio=0.0))
    for batch_id, flags in (("b1", 1), ("b2", 0)):
        found.on_dispatched(dispatched(1, batch_id=batch_id), at_ms=0)
        found.on_dispatched(dispatched(2, batch_id=batch_id, flags=flags, trace=TRACE), at_ms=0)
    assert linked(found.on_batch(a_batch(), at_ms=0)) == [names(2, trace=TRACE)]
    assert found.on_batch(a_batch(batch_id="b2"), at_ms=0) == []


def test_a_batch_of_one_has_no_span() -> None:
    found = Batches(Sampling())
    assert found.on_dispatched(dispatched(1, size=1), at_ms=0) == []
    assert found.on_batch(a_batch(size=1), at_ms=0) == []
    assert len(found) == 0


def test_what_is_not_whole_in_time_is_told_with_what_there_is() -> None:
    found = Batches(Sampling())
    found.on_dispatched(dispatched(1), at_ms=0)
    found.on_batch(a_batch(), at_ms=0)
    assert found.overdue(now_ms=WAIT_MS - 1) == []
    assert linked(found.overdue(now_ms=WAIT_MS)) == [names(1)]
    assert len(found) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_OPEN", 10)
    found = Batches(Sampling())
    for number in range(50):
        found.on_dispatched(dispatched(number, batch_id=f"b{number}"), at_ms=0)
        found.overdue(now_ms=0)
    assert len(found) == 10
