"""Trace messages become rows, whatever they are, wherever the store is and whenever either side goes away."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from infra.devstack.ports import Ports
from infra.devstack.processes import Child
from sinks.recorder.logs import FEEDBACK_KP
from tests.eventually import eventually
from tests.integration.sinks.conftest import MakeTopics
from tests.integration.sinks.recording import (
    REPOSITORY,
    TABLES,
    RecorderProcess,
    Sender,
    TraceTopics,
    a_request,
    an_event,
    audit,
)
from tests.integration.sinks.threads import PROC, niceness_of_threads
from topics.arrow import stream
from topics.codec import encode
from topics.feedback import Feedback
from topics.headers import header
from topics.trace import MAX_ROWS, SCHEMAS, encode_rows
from topics.trace_rows import RolloutRow, ScalingRow

pytestmark = pytest.mark.integration


@asynccontextmanager
async def recording(
    topics: TraceTopics, folder: Path, *, url: str | None = None, name: str = "recorder"
) -> AsyncIterator[RecorderProcess]:
    process = RecorderProcess(topics, folder, url=url, name=name)
    try:
        await process.start()
        yield process
    finally:
        await process.stop()


class ClickHouseServer:
    """A ClickHouse behind HTTP in a process of its own, on a port that stays."""

    def __init__(self, folder: Path) -> None:
        ports = Ports()
        port = ports.claim()
        ports.release()
        self.url = f"http://127.0.0.1:{port}"
        self.child = Child(
            name="clickhouse",
            command=[
                *(sys.executable, "-m", "sinks.clickhouse.http"),
                *("--path", str(folder / "remote"), "--port", str(port), "--database", "trace"),
            ],
            log=folder / "clickhouse.log",
            ready=lambda child: "http://" in child.log_text(),
            cwd=REPOSITORY,
        )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ClickHouseServer]:
    clickhouse = ClickHouseServer(tmp_path)
    await clickhouse.child.start_async()
    yield clickhouse
    await clickhouse.child.stop_async()


async def send_everything(sender: Sender, *, messages: int = 5, rows: int = 100) -> dict[int, int]:
    for number in range(messages):
        for table in TABLES:
            await sender.rows(table, rows, partition=number % sender.topics.partitions)
    return await sender.topics.ends()


async def test_rows_of_every_table_arrive_once(make_topics: MakeTopics, tmp_path: Path) -> None:
    topics = await make_topics(partitions=2)
    async with recording(topics, tmp_path) as recorder, Sender(topics) as sender:
        await recorder.recorded(await send_everything(sender))
        found = await audit(recorder.url)
        (row,) = await recorder.ask(
            "SELECT ko, ki, tenant, ttft_ms, e2e_ms, tpot_ms, final FROM requests WHERE request_id = 'r142'"
        )

    assert found.rows == sender.sent
    assert not any(found.doubled.values())
    assert found.differing == ()
    assert row == (1, 42, "acme", 1.0, 10.0, 2.0, 1)


async def test_a_restart_goes_on_where_the_last_one_ended(make_topics: MakeTopics, tmp_path: Path) -> None:
    topics = await make_topics()
    async with Sender(topics) as sender:
        async with recording(topics, tmp_path) as recorder:
            before = await send_everything(sender)
            await recorder.recorded(before)
        ends = await send_everything(sender)
        async with recording(topics, tmp_path) as recorder:
            await recorder.recorded(ends)
            found = await audit(recorder.url)
            log = recorder.child.log_text()

    assert found.rows == sender.sent
    assert not any(found.doubled.values())
    assert f"recording {topics.trace}/0 from offset {before[0]} of {ends[0]}" in log


async def test_merges_wait_for_the_inserts_of_their_process(make_topics: MakeTopics, tmp_path: Path) -> None:
    async with recording(await make_topics(), tmp_path) as recorder:
        merging, others = niceness_of_threads(recorder.child.pid)

    assert merging
    assert min(merging) > max(others)


async def test_a_recorder_that_has_recorded_and_restarted_never_needed_pandas(
    make_topics: MakeTopics, tmp_path: Path
) -> None:
    topics = await make_topics()
    async with Sender(topics) as sender:
        for _ in range(2):
            async with recording(topics, tmp_path) as recorder:
                await recorder.recorded(await send_everything(sender))
                mapped = (PROC / str(recorder.child.pid) / "maps").read_text()
                assert "pyarrow" in mapped
                assert "pandas" not in mapped


async def test_a_large_insert_is_one_file(make_topics: MakeTopics, tmp_path: Path) -> None:
    topics = await make_topics()
    events = encode_rows("events", [an_event(i, detail="long" * 100) for i in range(MAX_ROWS)])
    async with Sender(topics) as sender:
        for _ in range(100):
            await sender.raw(events, table="events")
        async with recording(topics, tmp_path) as recorder:
            await recorder.recorded(await topics.ends())
            (part,) = await recorder.ask(
                "SELECT max(data_uncompressed_bytes) > 10485760, groupUniqArray(part_type) FROM system.parts "
                "WHERE table = 'events' AND active AND level = 0"
            )

    assert part == (1, ["Compact"])


async def test_marks_alone_suffice_where_the_position_is_lost(make_topics: MakeTopics, tmp_path: Path) -> None:
    topics = await make_topics()
    async with Sender(topics) as sender:
        async with recording(topics, tmp_path) as recorder:
            ends = await send_everything(sender)
            await recorder.recorded(ends)
            await recorder.command("TRUNCATE TABLE recorder_positions")
        async with recording(topics, tmp_path) as recorder:
            await recorder.recorded(ends)
            found = await audit(recorder.url)
            log = recorder.child.log_text()

    assert f"recording {topics.trace}/0 from offset 0 of {ends[0]}" in log
    assert found.rows == sender.sent
    assert not any(found.doubled.values())


async def test_what_clients_say_lands_once_and_nonsense_does_not_hold_it_up(
    make_topics: MakeTopics, tmp_path: Path
) -> None:
    topics = await make_topics()
    async with Sender(topics) as sender:
        async with recording(topics, tmp_path) as recorder:
            await sender.feedback(encode(Feedback(id="r1", signal="thumbs", score=1.0)))
            await sender.feedback(b"nonsense")
            await sender.feedback(encode(Feedback(id="r2", signal="review", label="helpful")))
            await recorder.recorded({FEEDBACK_KP: 3})
        await sender.feedback(encode(Feedback(id="r1", signal="thumbs", score=0.0)))
        async with recording(topics, tmp_path) as recorder:
            await recorder.recorded({FEEDBACK_KP: 4})
            rows = await recorder.ask(
                "SELECT request_id, signal, ifNotFinite(score, -1), label FROM feedback ORDER BY ko"
            )

    assert rows == [("r1", "thumbs", 1.0, ""), ("r2", "review", -1.0, "helpful"), ("r1", "thumbs", 0.0, "")]
    assert len(await topics.dead()) == 1


async def test_decisions_are_recorded_with_what_they_were_made_from(make_topics: MakeTopics, tmp_path: Path) -> None:
    at = 1_795_000_000_123_456
    scaling = ScalingRow(
        ts=at,
        decision_id="s1",
        scaler="scaler-1",
        model="tiny",
        deployment="tiny@v1",
        action="up",
        reason="lag",
        replicas_before=1,
        replicas_wanted=3,
        replicas_after=2,
        lag_s=3.5,
        ready_ts=at + 30_000_000,
    )
    rollout = RolloutRow(
        ts=at,
        decision_id="d1",
        rollout_id="tiny-v2",
        model="tiny",
        stable="tiny@v1",
        canary="tiny@v2",
        action="advance",
        reason="no worse",
        weight_before=0.1,
        weight_after=0.3,
        stable_requests=900,
        p_value=0.4,
    )
    topics = await make_topics()
    async with recording(topics, tmp_path) as recorder, Sender(topics) as sender:
        await sender.raw(encode_rows("scaling_decisions", [scaling, scaling]), table="scaling_decisions")
        await sender.raw(encode_rows("rollout_decisions", [rollout]), table="rollout_decisions")
        await recorder.recorded(await topics.ends())
        scaled, rolled = [
            await recorder.ask(f"SELECT kp, ko, ki, {', '.join(SCHEMAS[table].names)} FROM {table} ORDER BY ki")
            for table in ("scaling_decisions", "rollout_decisions")
        ]

    assert await topics.dead() == []
    assert [row[:3] for row in scaled] == [(0, 0, 0), (0, 0, 1)]
    for (_, _, _, *found), sent in (*((row, scaling) for row in scaled), *((row, rollout) for row in rolled)):
        told: dict[str, Any] = msgspec.structs.asdict(sent)
        times = {name: _moment(told[name]) for name in ("ts", "ready_ts") if name in told}
        assert found == [*(told | times).values()]


def _moment(micros: int) -> datetime:
    """As the client gives it: UTC, and not said so."""
    return datetime.fromtimestamp(micros // 1_000_000, tz=UTC).replace(microsecond=micros % 1_000_000, tzinfo=None)


async def test_what_is_no_message_goes_to_the_dead_letters_and_the_rest_goes_on(
    make_topics: MakeTopics, tmp_path: Path
) -> None:
    topics = await make_topics()
    async with recording(topics, tmp_path) as recorder, Sender(topics) as sender:
        await sender.rows("events", 10)
        await sender.raw(b"\x00garbage", table="events")
        await sender.raw(encode_rows("events", [an_event(1)]), table="nosuch")
        await sender.raw(encode_rows("events", [an_event(1)]), table=None)
        await sender.rows("events", 10)
        await recorder.recorded(await topics.ends())
        found = await audit(recorder.url)
        dead = await topics.dead()

    assert found.rows["events"] == 20
    assert [header(record.headers, "__dlq.errors.offset") for record in dead] == [b"1", b"2", b"3"]
    assert dead[0].value == b"\x00garbage"
    assert (header(dead[0].headers, "table"), header(dead[0].headers, "__dlq.errors.stage")) == (b"events", b"recorder")


async def test_a_message_that_the_store_refuses_is_found_among_its_neighbours(
    make_topics: MakeTopics, tmp_path: Path
) -> None:
    topics = await make_topics()
    async with recording(topics, tmp_path) as recorder, Sender(topics) as sender:
        await recorder.command("ALTER TABLE events ADD CONSTRAINT sane CHECK kind != 'poison'")
        for number in range(9):
            kind = "poison" if number in (3, 7) else "request.admitted"
            await sender.raw(encode_rows("events", [an_event(number, kind=kind)] * 10), table="events")
        await recorder.recorded(await topics.ends())
        found = await audit(recorder.url)
        kinds = await recorder.ask("SELECT DISTINCT kind FROM events")
        dead = await topics.dead()

    assert (found.rows["events"], found.doubled["events"]) == (70, 0)
    assert kinds == [("request.admitted",)]
    assert [header(record.headers, "__dlq.errors.offset") for record in dead] == [b"3", b"7"]
    assert header(dead[0].headers, "__dlq.errors.code") == b"insert_refused"


async def test_columns_of_other_releases_are_taken_as_far_as_they_are_known(
    make_topics: MakeTopics, tmp_path: Path
) -> None:
    topics = await make_topics()
    row = pa.Table.from_batches([pa.ipc.open_stream(encode_rows("requests", [a_request(5)])).read_next_batch()])
    newer = row.append_column("colour", pa.array(["green"]))
    older = row.drop_columns(["gpu_ns", "mode"])
    async with recording(topics, tmp_path) as recorder, Sender(topics) as sender:
        for table in (newer, older):
            await sender.raw(stream(table), table="requests")
        await recorder.recorded(await topics.ends())
        rows = await recorder.ask("SELECT request_id, gpu_ns, mode FROM requests")

    assert rows == [("r5", 0, "")] * 2


async def test_an_account_of_another_log_is_refused(make_topics: MakeTopics, tmp_path: Path) -> None:
    first, second = await make_topics(), await make_topics()
    async with Sender(first) as sender, recording(first, tmp_path) as recorder:
        await recorder.recorded(await send_everything(sender))
    stranger = RecorderProcess(second, tmp_path)
    stranger.child.spawn()

    assert stranger.child.wait(within_s=30) == 1
    assert "does not belong to this trace topic" in stranger.child.log_text()


async def test_a_remote_clickhouse_is_written_by_the_same_code(
    make_topics: MakeTopics, tmp_path: Path, server: ClickHouseServer
) -> None:
    topics = await make_topics(partitions=2)
    async with recording(topics, tmp_path, url=server.url) as recorder, Sender(topics) as sender:
        await recorder.recorded(await send_everything(sender))
        await sender.raw(b"garbage", table="events")
        await recorder.recorded(await topics.ends())
        found = await audit(recorder.url)

    assert found.rows == sender.sent
    assert not any(found.doubled.values())
    assert found.differing == ()
    assert len(await topics.dead()) == 1


async def test_a_clickhouse_that_was_away_is_caught_up_with(
    make_topics: MakeTopics, tmp_path: Path, server: ClickHouseServer
) -> None:
    topics = await make_topics()
    async with recording(topics, tmp_path, url=server.url) as recorder, Sender(topics) as sender:
        await recorder.recorded(await send_everything(sender))
        server.child.kill()
        ends = await send_everything(sender, messages=20)
        await eventually(lambda: "ClickHouse is away" in recorder.child.log_text(), within_s=20)
        server.child.start()
        await recorder.recorded(ends)
        found = await audit(recorder.url)
        log = recorder.child.log_text()

    assert found.rows == sender.sent
    assert not any(found.doubled.values())
    assert (log.count("ClickHouse is away"), log.count("ClickHouse is back")) == (1, 1)


async def test_recorders_of_one_remote_clickhouse_share_the_partitions(
    make_topics: MakeTopics, tmp_path: Path, server: ClickHouseServer
) -> None:
    topics = await make_topics(partitions=4)
    async with Sender(topics) as sender, recording(topics, tmp_path, url=server.url, name="first") as first:
        await first.recorded(await send_everything(sender))
        async with recording(topics, tmp_path, url=server.url, name="second") as second:
            await eventually(lambda: f"recording {topics.trace}/" in second.child.log_text(), within_s=30)
            await first.recorded(await send_everything(sender))
        await first.recorded(await send_everything(sender))
        found = await audit(server.url)

    assert found.rows == sender.sent
    assert not any(found.doubled.values())
