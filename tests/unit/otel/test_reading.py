"""Messages of the trace to spans."""

import pytest

from sinks.otel.reading import SpanReader
from sinks.otel.sampling import Sampling
from sinks.otel.spans import spans_of
from tests.unit.metrics.rows import a_batch, a_request, a_second_of_steps, an_event
from topics.arrow import stream
from topics.errors import CodecError
from topics.trace import TraceBuffer, TraceMessage, decode_rows
from topics.trace_rows import Row


def read(reader: SpanReader, *rows: Row) -> list[str]:
    buffer = TraceBuffer()
    for row in rows:
        buffer.add(row)
    return [
        span.name
        for message in buffer.drain()
        for span in reader.read(message.value, [("table", message.table.encode())], at_ms=0)
    ]


def test_a_row_comes_through_the_wire_as_the_spans_that_it_is() -> None:
    row = a_request()
    (message,) = _messages(row)
    spans = SpanReader(Sampling()).read(message.value, [("table", b"requests")], at_ms=0)
    assert [span.to_json() for span in spans] == [span.to_json() for span in spans_of(row)]


def test_what_is_not_sampled_makes_no_span() -> None:
    assert read(SpanReader(Sampling(ratio=0.0)), a_request()) == []


def test_a_batch_is_brought_together_from_both_tables() -> None:
    told = [an_event("request.dispatched", batch_id="b1", batch_size=2, origin=f"t/0/{n}") for n in range(2)]
    other = an_event("request.admitted", batch_id="b1", batch_size=2)
    assert read(SpanReader(Sampling()), other, *told, a_batch()) == ["batch m"]


def test_other_tables_are_not_looked_at() -> None:
    assert read(SpanReader(Sampling()), a_second_of_steps()) == []
    assert SpanReader(Sampling()).read(b"no arrow at all", [("table", b"engine_steps")], at_ms=0) == []


def test_rows_of_an_older_sender_have_no_parent() -> None:
    (message,) = _messages(a_request(parent_span=7))
    older = decode_rows(message.value).drop_columns(["parent_span", "trace_flags", "endpoint"])
    spans = SpanReader(Sampling()).read(stream(older), [("table", b"requests")], at_ms=0)
    assert spans[0].parent is None


def test_what_is_no_message_is_told() -> None:
    with pytest.raises(CodecError):
        SpanReader(Sampling()).read(b"no arrow", [("table", b"requests")], at_ms=0)


def _messages(*rows: Row) -> list[TraceMessage]:
    buffer = TraceBuffer()
    for row in rows:
        buffer.add(row)
    return buffer.drain()
