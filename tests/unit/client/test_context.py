"""The span that is active where a request is made is its parent."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, use_span

from pipeline.client.ask import ask_of
from pipeline.client.context import active_context
from topics.headers import parent_span, trace_id
from topics.names import Lane

LANE = Lane("tiny", "bulk")
REMOTE = SpanContext(
    0x4BF92F3577B34DA6A3CE929D0E0E4736,
    0x00F067AA0BA902B7,
    is_remote=True,
    trace_flags=TraceFlags(1),
    trace_state=TraceState([("vendor", "x")]),
)


def test_a_request_names_the_active_span() -> None:
    with TracerProvider().get_tracer("caller").start_as_current_span("handling") as span:
        ask = ask_of(LANE, "acme", {"prompt": "x"}, None)
    context = span.get_span_context()
    assert parent_span(ask.headers) == (context.span_id, context.trace_flags)
    assert context.trace_flags.sampled
    assert trace_id(ask.headers) == context.trace_id.to_bytes(16)


def test_the_trace_state_goes_with_it() -> None:
    with use_span(NonRecordingSpan(REMOTE)):
        assert active_context() == [
            ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", b"vendor=x"),
        ]


def test_what_is_given_wins() -> None:
    with use_span(NonRecordingSpan(REMOTE)):
        ask = ask_of(LANE, "acme", {"prompt": "x", "traceparent": "00-a-b-01"}, None)
    assert ask.headers == [("traceparent", b"00-a-b-01")]


def test_without_an_active_span_nothing_is_said() -> None:
    assert ask_of(LANE, "acme", {"prompt": "x"}, None).headers == []
