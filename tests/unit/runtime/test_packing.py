"""Rows become messages; one that cannot does not take the others with it."""

from pipeline.runtime.packing import halves, pack
from topics.trace import MAX_ROWS, TraceMessage, decode_rows
from topics.trace_rows import BatchRow, EventRow, Row, StepRow


def an_event(ts: int, **fields: object) -> EventRow:
    return EventRow(ts=ts, kind="request.admitted", component="processor", process="p", **fields)  # type: ignore[arg-type]


def a_batch(size: int) -> BatchRow:
    return BatchRow(
        batch_id="b",
        formed_ts=1,
        model="m",
        deployment="m@v1",
        latency_class="bulk",
        worker="w",
        processor="p",
        size=size,
        size_limit=8,
    )


def sizes(message: TraceMessage) -> list[int]:
    return list(decode_rows(message.value)["queue_depth"].to_pylist())


def test_rows_go_into_messages_of_their_table_in_their_order() -> None:
    rows: list[Row] = [an_event(1, queue_depth=1), a_batch(3), an_event(2, queue_depth=2)]
    packed = pack(rows)
    assert [(message.table, message.rows) for message in packed.messages] == [("events", 2), ("batches", 1)]
    assert sizes(packed.messages[0]) == [1, 2]
    assert packed.unfit == 0


def test_a_table_with_many_rows_takes_several_messages() -> None:
    packed = pack([an_event(n, queue_depth=n) for n in range(MAX_ROWS + 1)])
    assert [message.rows for message in packed.messages] == [MAX_ROWS, 1]


def test_a_row_that_fits_no_column_is_left_out_and_named_without_its_values() -> None:
    packed = pack([an_event(1, queue_depth=1), an_event(2, duration_us=-7, reason="private"), an_event(3)])
    assert packed.unfit == 1
    assert packed.reason == "EventRow: OverflowError"
    assert [message.rows for message in packed.messages] == [2]


def test_nothing_is_packed_into_nothing() -> None:
    assert pack([]).messages == []


def test_the_halves_of_a_message_have_its_rows_in_its_order() -> None:
    (message,) = pack([an_event(n, queue_depth=n) for n in range(5)]).messages
    first, second = halves(message)
    assert (first.table, first.rows, second.rows) == ("events", 2, 3)
    assert sizes(first) + sizes(second) == [0, 1, 2, 3, 4]
    assert decode_rows(first.value).schema == decode_rows(message.value).schema


def test_a_message_of_one_row_has_no_halves() -> None:
    step = StepRow(
        ts=1,
        worker="w",
        model="m",
        deployment="m@v1",
        gpus=1,
        interval_us=1,
        steps=1,
        busy_us=1,
        prefill_tokens=0,
        decode_tokens=1,
        running_max=1,
        waiting_max=0,
    )
    (message,) = pack([step]).messages
    assert halves(message) == []
