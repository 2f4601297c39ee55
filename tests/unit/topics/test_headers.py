"""Trace context and dead-letter reasons in record headers."""

import pytest

from topics import headers

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_last_header_of_a_name_counts() -> None:
    assert headers.header([("a", b"1"), ("b", b"2"), ("a", b"3")], "a") == b"3"
    assert headers.header([("a", b"1")], "b") is None


def test_only_the_trace_context_is_sent_on() -> None:
    given = [("traceparent", PARENT), ("secret", b"x"), ("tracestate", b"k=v")]
    assert headers.trace_context(given) == [("traceparent", PARENT), ("tracestate", b"k=v")]


def test_a_trace_id_is_the_second_word_of_traceparent() -> None:
    assert headers.trace_id([("traceparent", PARENT)]).hex() == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("value", [b"", b"00-abc-def-01", b"00-" + b"z" * 32 + b"-b7ad6b7169203331-01", b"\xff" * 55])
def test_a_malformed_traceparent_is_no_trace(value: bytes) -> None:
    assert headers.trace_id([("traceparent", value)]) == bytes(16)


def test_a_dead_letter_keeps_its_headers_and_says_why() -> None:
    dead = headers.dead_letter(
        [("traceparent", PARENT)], topic="t", partition=1, offset=2, stage="admission", code="undecodable", message="ü"
    )
    assert dict(dead) == {
        "traceparent": PARENT,
        "__dlq.errors.topic": b"t",
        "__dlq.errors.partition": b"1",
        "__dlq.errors.offset": b"2",
        "__dlq.errors.stage": b"admission",
        "__dlq.errors.code": b"undecodable",
        "__dlq.errors.message": "ü".encode(),
    }
