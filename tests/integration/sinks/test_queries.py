"""The views and the named queries, asked of recorded rows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sinks.clickhouse.client import connect
from sinks.clickhouse.queries import load_queries
from tests.integration.sinks.conftest import MakeTopics
from tests.integration.sinks.recording import RecorderProcess, Sender, a_request, an_event
from topics.errors import TransportError
from topics.trace import encode_rows
from topics.trace_rows import BatchRow, EventRow

pytestmark = pytest.mark.integration

STORY: list[EventRow] = [
    an_event(0, ts=1_795_000_000_000_002, kind="request.dispatched"),
    an_event(0, ts=1_795_000_000_000_001, kind="request.admitted"),
]
BATCH = BatchRow(
    batch_id="b",
    formed_ts=an_event(0).ts,
    model="tiny",
    deployment="tiny@v1",
    latency_class="interactive",
    worker="w",
    processor="p",
    size=3,
    size_limit=6,
    reason="credit",
)


@pytest.fixture
async def recorder(make_topics: MakeTopics, tmp_path: Path) -> AsyncIterator[RecorderProcess]:
    """Four requests: one plain, one parked and continued, one that two attempts ended, one that was rejected.

    The row of the plain one is told twice.
    """
    topics = await make_topics()
    plain = a_request(0, gpu_ns=2_000_000_000)
    parked = a_request(1, attempt="early", final=0, outcome="parked", gpu_ns=1_000_000_000)
    continued = a_request(1, attempt="late", hop=1, produced_ts=parked.produced_ts, gpu_ns=1_000_000_000)
    zombie = a_request(2, attempt="zombie", outcome="failed")
    heir = a_request(2, attempt="heir", hop=1, produced_ts=zombie.produced_ts, finished_us=5_000)
    rejected = a_request(3, attempt="", outcome="rejected", tokens_out=0, first_us=0, last_us=0)
    process = RecorderProcess(topics, tmp_path)
    try:
        await process.start()
        async with Sender(topics) as sender:
            await sender.raw(encode_rows("requests", [plain, parked, continued, zombie]), table="requests")
            await sender.raw(encode_rows("requests", [heir, rejected, plain]), table="requests")
            await sender.raw(encode_rows("events", list(STORY)), table="events")
            await sender.raw(encode_rows("batches", [BATCH]), table="batches")
            await sender.rows("engine_steps", 1)
            await process.recorded(await topics.ends())
        yield process
    finally:
        await process.stop()


def answer(url: str, name: str, **given: str) -> list[dict[str, Any]]:
    query = load_queries()[name]
    client = connect(url, "default", "", "trace")
    try:
        return list(client.query(query.text, parameters=query.values(given)).named_results())
    finally:
        client.close()


async def test_a_request_has_one_end_and_an_attempt_one_row(recorder: RecorderProcess) -> None:
    ends = await recorder.ask("SELECT lane_offset, attempt, outcome FROM requests_final ORDER BY lane_offset")
    attempts = await recorder.ask("SELECT lane_offset, attempt FROM attempts ORDER BY lane_offset, hop")

    assert ends == [(0, "a0", "completed"), (1, "late", "completed"), (2, "heir", "completed"), (3, "", "rejected")]
    assert attempts == [(0, "a0"), (1, "early"), (1, "late"), (2, "zombie"), (2, "heir"), (3, "")]


async def test_the_named_queries_answer(recorder: RecorderProcess) -> None:
    (lane,) = answer(recorder.url, "reconcile")
    (tenant,) = answer(recorder.url, "tokens_and_engine_seconds_by_tenant")
    (minute,) = answer(recorder.url, "throughput")
    (batches,) = answer(recorder.url, "batch_sizes")
    stations = answer(recorder.url, "latency_by_class_and_station")
    story = answer(recorder.url, "one_request", id="r0")
    slowest = answer(recorder.url, "slowest", limit="1")
    tables = answer(recorder.url, "recording")

    assert (lane["up_to_offset"], lane["ended"], lane["completed"], lane["rejected"], lane["is_even"]) == (
        4,
        4,
        3,
        1,
        1,
    )
    assert (tenant["requests"], tenant["engine_s"], tenant["wasted_s"]) == (4, 4.0, 1.0)
    assert minute["requests"] == 4
    assert (batches["requests"], batches["mean_size"], batches["fill"]) == (3, 3.0, 0.5)
    assert [row["station"] for row in stations] == ["first token", "last token", "finished"]
    assert [row["kind"] for row in story] == ["request.admitted", "request.dispatched"]
    assert (slowest[0]["total_ms"], slowest[0]["slow_before"]) == (10.0, "last token")
    assert {row["table"]: (row["rows"], row["doubled"]) for row in tables}["requests"] == (7, 0)


async def test_every_query_runs_as_it_is_where_it_has_defaults(recorder: RecorderProcess) -> None:
    runnable = [query for query in load_queries().values() if all(p.default is not None for p in query.parameters)]

    answered = {query.name for query in runnable if await recorder.ask(query.sql)}

    assert len(runnable) > 20
    assert answered >= {"latency_by_class_and_station", "tokens_and_engine_seconds_by_tenant", "recording", "slowest"}


def test_a_client_that_finds_nobody_says_whom_it_looked_for() -> None:
    with pytest.raises(TransportError, match=r"at http://127\.0\.0\.1:1 as someone, database trace"):
        connect("http://127.0.0.1:1", "someone", "", "trace")
