"""From bytes of any sender to the columns of a table."""

from typing import Any

import pyarrow as pa
import pytest

from sinks.recorder.blocks import Block, Message
from sinks.recorder.columns import MAX_MESSAGE_ROWS, message_of, rows_of
from topics.arrow import stream
from topics.errors import CodecError
from topics.headers import TABLE
from topics.trace import SCHEMAS, encode_rows
from topics.trace_rows import BatchRow, StepRow

STEP = StepRow(
    ts=1_795_000_000_000_000,
    worker="w",
    model="m",
    deployment="m@v1",
    gpus=1,
    interval_us=1,
    steps=2,
    busy_us=3,
    prefill_tokens=4,
    decode_tokens=5,
    running_max=6,
    waiting_max=7,
    kv_usage_ratio=0.5,
)


def steps(count: int = 1) -> pa.Table:
    return pa.ipc.open_stream(encode_rows("engine_steps", [STEP] * count)).read_all()


def a_message(table: pa.Table, ko: int = 0, kp: int = 0) -> Message:
    found = message_of(stream(table), [(TABLE, b"engine_steps")], kp=kp, ko=ko, log_ts_ms=1000 + ko)
    assert found is not None
    return found


def test_a_message_of_this_release_is_taken_as_it_is() -> None:
    assert a_message(steps(3)).rows.equals(steps(3))


def test_unknown_columns_are_left_out_and_the_order_does_not_matter() -> None:
    names = steps().column_names
    newer = steps().append_column("colour", pa.array(["green"])).select(["colour", *reversed(names)])

    assert a_message(newer).rows.equals(steps())


def test_missing_columns_get_the_default_of_their_row() -> None:
    older = steps().drop_columns(["kv_usage_ratio", "gpus", "ts"])

    row = a_message(older).rows.to_pylist()[0]

    assert (row["kv_usage_ratio"], row["gpus"], row["ts"].timestamp()) == (0.0, 0, 0.0)


def test_columns_of_another_width_are_converted() -> None:
    index = steps().schema.get_field_index("gpus")
    narrow = steps().set_column(index, "gpus", pa.array([3], pa.int8()))

    assert a_message(narrow).rows.column("gpus").to_pylist() == [3]


@pytest.mark.parametrize("value", [-1, "many"])
def test_columns_that_cannot_be_converted_are_named(value: Any) -> None:
    index = steps().schema.get_field_index("gpus")
    wrong = steps().set_column(index, "gpus", pa.array([value]))

    with pytest.raises(CodecError, match="column gpus of engine_steps"):
        a_message(wrong)


@pytest.mark.parametrize("headers", [[], [(TABLE, b"nosuch")], [(TABLE, b"\xff")]])
def test_a_message_of_no_known_table_is_refused(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(CodecError, match="expected one of events, requests, batches, engine_steps"):
        message_of(stream(steps()), headers, kp=0, ko=0, log_ts_ms=0)


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"garbage" * 100])
def test_bytes_that_are_no_arrow_stream_are_refused(value: bytes | None) -> None:
    with pytest.raises(CodecError, match="Arrow IPC stream"):
        message_of(value, [(TABLE, b"engine_steps")], kp=0, ko=0, log_ts_ms=0)


def test_a_message_that_could_become_two_parts_is_refused() -> None:
    many = pa.concat_tables([steps()] * (MAX_MESSAGE_ROWS + 1))

    with pytest.raises(CodecError, match="at most 100000"):
        a_message(many.combine_chunks())


def test_a_message_without_rows_is_nothing() -> None:
    assert message_of(stream(steps().slice(0, 0)), [(TABLE, b"engine_steps")], kp=0, ko=0, log_ts_ms=0) is None


def test_rows_know_where_they_lay() -> None:
    messages = (a_message(steps(2), ko=5), a_message(steps(1), ko=3, kp=1))

    rows = rows_of(Block(table="engine_steps", day=0, messages=messages))

    assert rows.column_names == ["kp", "ko", "ki", "log_ts", *SCHEMAS["engine_steps"].names]
    assert list(zip(*(rows[name].to_pylist() for name in ("kp", "ko", "ki")), strict=True)) == [
        (0, 5, 0),
        (0, 5, 1),
        (1, 3, 0),
    ]
    assert rows["log_ts"].cast(pa.int64()).to_pylist() == [1005, 1005, 1003]


def test_a_row_type_without_defaults_has_some_for_older_senders() -> None:
    old = pa.table({"batch_id": ["b1"]})
    message = message_of(stream(old), [(TABLE, b"batches")], kp=0, ko=0, log_ts_ms=0)

    assert message is not None
    assert message.rows.schema.equals(SCHEMAS["batches"])
    assert message.rows.to_pylist()[0]["batch_id"] == "b1"
    assert BatchRow.__struct_fields__ == tuple(message.rows.column_names)
