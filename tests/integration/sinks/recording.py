"""What the recorder's tests are written with: a trace topic, a recorder process, messages, and an audit by SQL."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import RecordMetadata

from infra.devstack.processes import Child
from pipeline.recorder.main import URL_FILE
from pipeline.runtime import kafka
from pipeline.runtime.process import READY_FILE
from pipeline.settings import KafkaSettings
from sinks.clickhouse.client import connect
from tests.eventually import eventually
from topics.headers import TABLE
from topics.trace import encode_rows
from topics.trace_rows import BatchRow, EventRow, GpuRow, RequestRow, Row, StepRow

REPOSITORY = Path(__file__).parents[3]
TABLES = ("events", "requests", "batches", "engine_steps", "gpu_samples")

BY_MINUTE = {
    "events": "SELECT toStartOfMinute(ts), kind, model, latency_class, count(), max(queue_depth)",
    "requests": "SELECT minute, model, deployment, latency_class, tenant, outcome, final, count(), sum(gpu_ns)",
    "batches": "SELECT toStartOfMinute(formed_ts), model, latency_class, reason, count(), sum(size), max(size)",
    "engine_steps": "SELECT toStartOfMinute(ts), model, deployment, worker, sum(steps), sum(busy_us), max(running_max)",
    "gpu_samples": "SELECT toStartOfMinute(ts), worker, run, model, deployment, gpu, gpus, sum(paid_ns), count()",
}
"""Statements that the projection `by_minute` of each table answers."""


def an_event(i: int, **fields: Any) -> EventRow:
    return EventRow(
        **{
            "ts": time.time_ns() // 1000,
            "kind": "request.admitted",
            "component": "processor",
            "process": "p",
            "request_id": f"r{i}",
            "model": "tiny",
            "tenant": f"t{i % 7}",
            **fields,
        }
    )


def a_request(i: int, **fields: Any) -> RequestRow:
    return RequestRow(
        **{
            "request_id": f"r{i}",
            "lane_topic": "inference.requests.tiny.interactive",
            "lane_partition": 0,
            "lane_offset": i,
            "attempt": f"a{i}",
            "tenant": "acme",
            "latency_class": "interactive",
            "model": "tiny",
            "produced_ts": time.time_ns() // 1000,
            "first_us": 1000,
            "last_us": 9000,
            "finished_us": 10_000,
            "tokens_out": 5,
            "outcome": "completed",
            **fields,
        }
    )


def rows_of(table: str, first: int, count: int) -> list[Row]:
    """`count` rows of a table that tell their number where the table has a place for it."""
    now_us = time.time_ns() // 1000
    match table:
        case "events":
            return [an_event(i) for i in range(first, first + count)]
        case "requests":
            return [a_request(i) for i in range(first, first + count)]
        case "batches":
            common = {"formed_ts": now_us, "model": "tiny", "deployment": "tiny@v1", "latency_class": "bulk"}
            return [
                BatchRow(batch_id=f"b{i}", worker="w", processor="p", size=i % 9, size_limit=9, **common)  # type: ignore[arg-type]
                for i in range(first, first + count)
            ]
        case "gpu_samples":
            common = {"worker": "w", "run": "w-1", "model": "tiny", "deployment": "tiny@v1", "gpu": "L4", "gpus": 1}
            return [
                GpuRow(ts=now_us + i + 1, since_ts=now_us + i, state="ready", paid_ns=1000, idle_ns=1000, **common)  # type: ignore[arg-type]
                for i in range(first, first + count)
            ]
        case _:
            zeros = dict.fromkeys(("steps", "busy_us", "prefill_tokens", "decode_tokens", "running_max"), 1)
            return [
                StepRow(
                    ts=now_us + i,
                    worker="w",
                    model="tiny",
                    deployment="tiny@v1",
                    gpus=1,
                    interval_us=1,
                    waiting_max=0,
                    **zeros,
                )
                for i in range(first, first + count)
            ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceTopics:
    """A trace topic and its dead letters on a shared broker."""

    settings: KafkaSettings
    trace: str
    dead_letters: str
    feedback: str
    partitions: int

    async def create(self) -> None:
        admin = kafka.admin(self.settings)
        assert isinstance(admin, AIOKafkaAdminClient)
        await admin.start()
        try:
            config = {"message.timestamp.type": "LogAppendTime"}
            await admin.create_topics(
                [
                    NewTopic(self.trace, self.partitions, 1, topic_configs=config),
                    NewTopic(self.dead_letters, 1, 1, topic_configs=config),
                    NewTopic(self.feedback, 1, 1, topic_configs=config),
                ]
            )
        finally:
            await admin.close()

    async def ends(self) -> dict[int, int]:
        """By partition, the offset that the next message gets."""
        partitions = [TopicPartition(self.trace, kp) for kp in range(self.partitions)]
        reader = kafka.consumer(self.settings, client_id="test")
        await reader.start()
        try:
            return {p.partition: end for p, end in (await reader.end_offsets(partitions)).items()}
        finally:
            await reader.stop()

    async def dead(self) -> list[Any]:
        """All dead letters so far."""
        partition = TopicPartition(self.dead_letters, 0)
        reader = kafka.consumer(self.settings, client_id="test")
        await reader.start()
        try:
            reader.assign([partition])
            end = (await reader.end_offsets([partition]))[partition]
            records: list[Any] = []
            await reader.seek_to_beginning(partition)
            while await reader.position(partition) < end:
                for found in (await reader.getmany(timeout_ms=200)).values():
                    records += found
            return records
        finally:
            await reader.stop()


class Sender:
    """Puts trace messages on the topic and counts the rows by table."""

    def __init__(self, topics: TraceTopics) -> None:
        self.topics = topics
        self.sent: dict[str, int] = dict.fromkeys(TABLES, 0)
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> "Sender":
        self._producer = kafka.producer(self.topics.settings, client_id="test")
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._producer is not None
        await self._producer.stop()

    async def rows(self, table: str, count: int, *, partition: int = 0) -> RecordMetadata:
        """Send the next `count` rows of a table as one message."""
        value = encode_rows(table, rows_of(table, self.sent[table], count))
        place = await self.raw(value, table=table, partition=partition)
        self.sent[table] += count
        return place

    async def raw(self, value: bytes, *, table: str | None, partition: int = 0) -> RecordMetadata:
        """Send any bytes."""
        assert self._producer is not None
        headers = [(TABLE, table.encode())] if table is not None else []
        return await self._producer.send_and_wait(
            self.topics.trace, value, key=b"test", headers=headers, partition=partition
        )

    async def feedback(self, value: bytes) -> None:
        """Send any bytes as feedback."""
        assert self._producer is not None
        await self._producer.send_and_wait(self.topics.feedback, value, partition=0)


class RecorderProcess:
    """A recorder that can be killed and started again on the same data.

    Args:
        topics: what it reads.
        folder: of its engine, log and ready file.
        flags: further settings, `section.key=value`.
        url: of a remote ClickHouse; None for the embedded engine.
    """

    def __init__(self, topics: TraceTopics, folder: Path, *, url: str | None = None, name: str = "recorder") -> None:
        self._folder = folder
        self._url = url
        self._ready = folder / f"{name}.ready"
        clickhouse = [
            f'clickhouse.url="{url or "embedded"}"',
            "clickhouse.port=0",
            f'clickhouse.path="{folder / "ch"}"',
        ]
        flags = [f'kafka.brokers="{topics.settings.brokers}"', *clickhouse]
        self.child = Child(
            name=name,
            command=[
                sys.executable,
                "-m",
                "tests.integration.sinks.recorder_child",
                topics.trace,
                topics.feedback,
                topics.dead_letters,
                *flags,
            ],
            log=folder / f"{name}.log",
            ready=lambda _: self._ready.exists(),
            env={READY_FILE: str(self._ready)},
            cwd=REPOSITORY,
        )

    @property
    def url(self) -> str:
        """Where to ask it."""
        return self._url or (self._folder / "ch" / URL_FILE).read_text().strip()

    async def start(self) -> None:
        """Start and wait until it records."""
        self._ready.unlink(missing_ok=True)
        await self.child.start_async()

    async def kill(self) -> None:
        """`kill -9`."""
        await asyncio.to_thread(self.child.kill)

    async def stop(self) -> int | None:
        """SIGTERM; the exit status."""
        return await self.child.stop_async()

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of one SELECT over HTTP."""
        return await ask(self.url, sql)

    async def command(self, sql: str) -> None:
        """One statement for its effect over HTTP."""

        def run() -> None:
            client = connect(self.url, "default", "", "trace")
            try:
                client.command(sql)
            finally:
                client.close()

        await asyncio.to_thread(run)

    async def recorded(self, ends: dict[int, int], *, within_s: float = 30) -> None:
        """Wait until everything below `ends` is recorded."""

        async def is_there() -> bool:
            rows = await self.ask("SELECT kp, max(next_ko) FROM recorder_positions GROUP BY kp")
            positions = {int(kp): int(ko) for kp, ko in rows}
            missing = {kp: end for kp, end in ends.items() if end > positions.get(kp, 0)}
            assert not missing, f"positions {positions}, wanted {ends}"
            return True

        await eventually(is_there, within_s=within_s, every_s=0.1)


async def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Rows of one SELECT."""

    def run() -> Sequence[Sequence[Any]]:
        client = connect(url, "default", "", "trace")
        try:
            return client.query(sql).result_rows
        finally:
            client.close()

    return [tuple(row) for row in await asyncio.to_thread(run)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the tables hold: rows by table, rows that are there twice, and projections that differ from their table."""

    rows: dict[str, int]
    doubled: dict[str, int]
    differing: tuple[str, ...]


async def audit(url: str) -> Audit:
    """Count everything, from the rows and from the projections."""
    rows, doubled, differing = {}, {}, []
    for table in TABLES:
        ((count, distinct),) = await ask(url, f"SELECT count(), uniqExact(kp, ko, ki) FROM {table}")
        rows[table], doubled[table] = count, count - distinct
        marks = "SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count()"
        for projection, columns in (("hwm", marks), ("by_minute", BY_MINUTE[table])):
            asked = f"{columns} FROM {table} GROUP BY ALL ORDER BY ALL SETTINGS optimize_use_projections = "
            forced = f"force_optimize_projection_name = '{projection if count else ''}'"
            if await ask(url, f"{asked}1, {forced}") != await ask(url, f"{asked}0"):
                differing.append(f"{table}.{projection}")
    return Audit(rows=rows, doubled=doubled, differing=tuple(differing))
