"""Ids of spans follow from what they are of, and a producer's context is read as the standard has it."""

import pytest

from topics.headers import parent_span, trace_id
from topics.spans import span_of, trace_of
from topics.trace_rows import NO_TRACE

ORIGIN = "inference.requests.m.bulk/0/7"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_span_has_the_same_id_whenever_it_is_told() -> None:
    assert span_of(ORIGIN, "attempt", "k3f9") == span_of(ORIGIN, "attempt", "k3f9")


def test_spans_of_other_stations_attempts_and_requests_have_other_ids() -> None:
    others = {
        span_of(ORIGIN, "attempt", "k3f9"),
        span_of(ORIGIN, "attempt", "a001"),
        span_of(ORIGIN, "prefill", "k3f9"),
        span_of(ORIGIN, "request"),
        span_of("inference.requests.m.bulk/0/8", "request"),
    }
    assert len(others) == 5
    assert all(0 < span < 2**64 for span in others)


def test_a_request_without_a_context_begins_a_trace_of_its_own() -> None:
    assert trace_of(NO_TRACE, ORIGIN) == trace_of(NO_TRACE, ORIGIN) != NO_TRACE
    assert trace_of(bytes.fromhex(TRACE), ORIGIN) == bytes.fromhex(TRACE)


def test_the_parent_is_the_producers_span_with_its_flags() -> None:
    headers = [("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode())]
    assert (trace_id(headers).hex(), parent_span(headers)) == (TRACE, (0x00F067AA0BA902B7, 1))


def test_a_later_version_may_say_more_behind() -> None:
    assert parent_span([("traceparent", f"01-{TRACE}-00f067aa0ba902b7-03-more".encode())]) == (0x00F067AA0BA902B7, 3)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-a-b-01",
        f"00-{TRACE}-00f067aa0ba902b7".encode(),
        f"00-{TRACE[:-2]} a-00f067aa0ba902b7-01".encode(),
        f"00-{TRACE}-00f067aa0ba902zz-01".encode(),
        f"00-{TRACE}-00f067aa0ba902b7-01x".encode(),
    ],
)
def test_what_is_no_traceparent_names_nobody(value: bytes) -> None:
    headers = [("traceparent", value)]
    assert (trace_id(headers), parent_span(headers)) == (NO_TRACE, (0, 0))
