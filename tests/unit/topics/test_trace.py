"""Rows of the account, and Arrow batches of them."""

from datetime import UTC, datetime

import msgspec
import pyarrow as pa
import pytest

from topics.errors import CodecError
from topics.trace import MAX_ROWS, SCHEMAS, TraceBuffer, decode_rows, encode_rows
from topics.trace_rows import (
    TABLES,
    BatchRow,
    EventRow,
    FeedbackRow,
    GpuRow,
    RequestRow,
    RolloutRow,
    Row,
    ScalingRow,
    StepRow,
    TextRow,
)

TS = 1_795_255_200_123_456
EVENT = EventRow(ts=TS, kind="request.admitted", component="processor", process="p1", trace_id=bytes(range(16)))
REQUEST = RequestRow(
    request_id="order-42",
    lane_topic="inference.requests.m.bulk",
    lane_partition=0,
    lane_offset=2**40,
    tenant="acme",
    latency_class="bulk",
    model="m",
    produced_ts=TS,
    outcome="completed",
    gpu_ns=2**50,
)
BATCH = BatchRow(
    batch_id="b1",
    formed_ts=TS,
    model="m",
    deployment="m@v1",
    latency_class="bulk",
    worker="w",
    processor="p1",
    size=3,
    size_limit=8,
)
STEP = StepRow(
    ts=TS,
    worker="w",
    model="m",
    deployment="m@v1",
    gpus=1,
    interval_us=1_000_000,
    steps=40,
    busy_us=900_000,
    prefill_tokens=100,
    decode_tokens=500,
    running_max=8,
    waiting_max=2,
    kv_usage_ratio=0.25,
)
GPU = GpuRow(
    ts=TS,
    since_ts=TS - 1_000_000,
    worker="w",
    run="f2d1",
    model="m",
    deployment="m@v1",
    gpu="H100",
    gpus=2,
    state="ready",
    paid_ns=2_000_000_000,
    busy_ns=1_900_000_001,
    idle_ns=99_999_999,
)
FEEDBACK = FeedbackRow(ts=TS, request_id="order-42", signal="helpful", score=0.5, source="survey")
TEXT = TextRow(
    ts=TS,
    request_id="order-42",
    lane_topic="inference.requests.m.bulk",
    lane_partition=0,
    lane_offset=7,
    attempt="k3f9",
    tenant="acme",
    latency_class="bulk",
    model="m",
    deployment="m@v1",
    prompt="user: Hällo",
    answer="",
)
SCALING = ScalingRow(
    ts=TS,
    decision_id="s1",
    scaler="scaler-1",
    model="m",
    deployment="m@v1",
    action="up",
    reason="lag",
    replicas_before=1,
    replicas_wanted=2,
    replicas_after=2,
    lag_s=3.5,
    ready_ts=TS + 30_000_000,
)
ROLLOUT = RolloutRow(
    ts=TS,
    decision_id="d1",
    rollout_id="m-v2",
    model="m",
    stable="m@v1",
    canary="m@v2",
    stage=1,
    action="start",
    reason="asked",
    weight_after=0.3,
    p_value=0.5,
)
ROWS: dict[str, Row] = {
    "events": EVENT,
    "requests": REQUEST,
    "batches": BATCH,
    "engine_steps": STEP,
    "gpu_samples": GPU,
    "feedback": FEEDBACK,
    "texts": TEXT,
    "scaling_decisions": SCALING,
    "rollout_decisions": ROLLOUT,
}


@pytest.mark.parametrize("table", sorted(TABLES))
def test_rows_come_back_as_they_were(table: str) -> None:
    row = ROWS[table]
    read = decode_rows(encode_rows(table, [row, row])).to_pylist()
    assert read == [_as_read(row)] * 2


def _as_read(row: Row) -> dict[str, object]:
    fields = msgspec.structs.asdict(row)
    times: dict[str, object] = {
        name: _moment(fields[name])
        for name in ("ts", "since_ts", "produced_ts", "formed_ts", "ready_ts")
        if name in fields
    }
    return {**fields, **times}


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // 1_000_000, tz=UTC).replace(microsecond=micros % 1_000_000)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_schema_has_the_rows_fields_in_their_order(table: str) -> None:
    assert SCHEMAS[table].names == [field.name for field in msgspec.structs.fields(TABLES[table])]


def test_times_are_microseconds_in_utc() -> None:
    assert SCHEMAS["events"].field("ts").type == pa.timestamp("us", tz="UTC")
    assert SCHEMAS["requests"].field("gpu_ns").type == pa.uint64()


def test_a_buffer_makes_messages_by_table_of_bounded_size() -> None:
    buffer = TraceBuffer()
    for _ in range(MAX_ROWS + 1):
        buffer.add(EVENT)
    buffer.add(BATCH)
    assert buffer.pending == MAX_ROWS + 2
    messages = buffer.drain()
    assert [(m.table, m.rows) for m in messages] == [("events", MAX_ROWS), ("events", 1), ("batches", 1)]
    assert [decode_rows(m.value).num_rows for m in messages] == [MAX_ROWS, 1, 1]
    assert (buffer.pending, buffer.drain()) == (0, [])


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff" * 64])
def test_what_is_no_arrow_is_told(value: bytes) -> None:
    with pytest.raises(CodecError, match="Arrow"):
        decode_rows(value)
