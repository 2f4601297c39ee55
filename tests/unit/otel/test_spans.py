"""Spans of one row."""

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from sinks.otel.spans import batch_context, batch_span, request_context, spans_of
from tests.unit.metrics.rows import ORIGIN, a_batch, a_rejection, a_request
from topics.trace_rows import NO_TRACE

TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
PRODUCER = 0x00F067AA0BA902B7
REQUEST = "process inference.requests.m.interactive"


def by_name(**changes: Any) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans_of(a_request(**changes))}


def parent(span: ReadableSpan) -> int:
    return int(span.parent.span_id) if span.parent else 0


def own(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def bounds_us(span: ReadableSpan) -> tuple[int, int]:
    """Start and end in microseconds after the request was produced."""
    assert span.start_time is not None and span.end_time is not None
    return span.start_time // 1000 - 10**15, span.end_time // 1000 - 10**15


def test_the_stations_of_a_request_are_its_children_one_after_the_other() -> None:
    spans = by_name()
    assert {name: bounds_us(span) for name, span in spans.items()} == {
        REQUEST: (0, 250_000),
        "admit": (0, 10_000),
        "queue": (10_000, 20_000),
        "dispatch": (20_000, 30_000),
        "chat m": (30_000, 250_000),
        "prefill": (30_000, 200_000),
        "decode": (200_000, 240_000),
    }
    assert {name for name, span in spans.items() if parent(span) == own(spans[REQUEST])} == {
        "admit",
        "queue",
        "dispatch",
        "chat m",
    }
    assert {name for name, span in spans.items() if parent(span) == own(spans["chat m"])} == {"prefill", "decode"}


def test_a_request_hangs_below_its_producers_span() -> None:
    request = by_name(trace_id=TRACE, parent_span=PRODUCER, trace_flags=1)[REQUEST]
    assert request.parent is not None and request.context is not None
    assert (request.parent.span_id, request.parent.is_remote) == (PRODUCER, True)
    assert request.context.trace_id == int.from_bytes(TRACE)


def test_a_request_without_one_is_a_root() -> None:
    assert by_name()[REQUEST].parent is None


def test_the_same_row_makes_the_same_spans() -> None:
    first, again = (sorted(map(own, by_name().values())) for _ in range(2))
    assert first == again


def test_attempts_of_a_request_share_its_span_and_have_their_own() -> None:
    ended, lost = by_name(), by_name(attempt="a001", final=0, outcome="engine_dead", error_code="engine_dead")
    assert REQUEST not in lost
    assert parent(lost["chat m"]) == own(ended[REQUEST])
    assert own(lost["queue"]) == own(ended["queue"])
    assert {own(lost[name]) for name in ("chat m", "prefill", "decode", "dispatch")}.isdisjoint(
        own(span) for span in ended.values()
    )
    assert (lost["chat m"].status.status_code, lost["chat m"].status.description) == (StatusCode.ERROR, "engine_dead")


def test_a_later_hop_does_not_tell_the_queue_again() -> None:
    assert "queue" not in by_name(hop=1)


def test_a_rejected_request_is_one_span_with_its_error() -> None:
    (span,) = spans_of(a_rejection(admitted_us=0))
    assert (span.name, span.kind, span.status.status_code) == (REQUEST, SpanKind.CONSUMER, StatusCode.ERROR)
    assert span.attributes is not None
    assert span.attributes["error.type"] == "queue_full"


def test_an_attempt_has_its_usage_and_its_first_token() -> None:
    attempt = by_name(endpoint="/v1/completions")["text_completion m"]
    assert attempt.attributes is not None
    assert attempt.attributes["gen_ai.usage.input_tokens"] == 5
    assert attempt.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert attempt.attributes["gen_ai.response.time_to_first_chunk"] == 0.17
    assert [(event.name, event.timestamp) for event in attempt.events] == [
        ("gen_ai.first_token", (10**15 + 200_000) * 1000)
    ]
    assert attempt.resource.attributes["service.instance.id"] == "w1"


def test_only_a_batch_of_several_is_linked() -> None:
    assert by_name()["dispatch"].links == ()
    (link,) = by_name(batch_size=2)["dispatch"].links
    assert link.context == batch_context("b1")


def test_a_batch_is_linked_to_its_requests() -> None:
    members = [request_context(TRACE, ORIGIN), request_context(NO_TRACE, ORIGIN)]
    span = batch_span(a_batch(), members)
    assert [link.context for link in span.links] == members
    assert (span.context, bounds_us(span)) == (batch_context("b1"), (0, 50_000))
    assert members[0].span_id == own(by_name(trace_id=TRACE)[REQUEST])
