"""A processor and a worker of one model on the real broker, with the simulated engine, and a client of them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.processor.main import main as processor
from pipeline.runtime import kafka as clients
from pipeline.runtime import topics as broker_topics
from pipeline.settings import KafkaSettings, ModelSettings, Settings, SimulatedDeployment
from pipeline.worker.main import main as worker
from topics import names
from topics.catalogue import catalogue
from topics.codec import decode_cancellation, decode_response, decode_slot_record, decode_workers_record, encode
from topics.dispatches import Cancel, Dispatch
from topics.fleet import Heartbeat
from topics.headers import header
from topics.names import Lane, origin_of
from topics.reader import Reader, Verdict
from topics.requests import DEFAULT_TENANT, Cancellation, Request
from topics.responses import Completed, Delta, Response, Started
from topics.trace import decode_rows

SLOW = SimulatedDeployment(fixed_us=20_000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0)
"""50 tokens a second, however many sequences."""


@dataclass
class Told:
    """One answer, by the reader rule. `voided` counts how often it began again, `at_ms` says when the log got each."""

    reader: Reader = field(default_factory=Reader)
    records: list[Response] = field(default_factory=list)
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    voided: int = 0
    at_ms: list[int] = field(default_factory=list)

    def feed(self, record: Response, at_ms: int) -> None:
        verdict = self.reader.feed(record)
        if verdict is Verdict.IGNORED:
            return
        self.records.append(record)
        self.at_ms.append(at_ms)
        if verdict is Verdict.RESTARTED:
            self.text, self.token_ids = "", []
            self.voided += 1
        if isinstance(record, Delta):
            self.text += record.text
            self.token_ids += record.token_ids

    @property
    def end(self) -> Any:
        return self.records[-1] if self.reader.has_ended else None

    @property
    def whole_text(self) -> str:
        """Also of an answer that did not stream."""
        body = self.end.body if isinstance(self.end, Completed) else None
        return self.text if body is None else str(body["choices"][0]["message"]["content"])


@dataclass
class Mill:
    """What is sent, and everything that was answered, dispatched and accounted for."""

    settings: Settings
    model: str
    producer: AIOKafkaProducer
    told: dict[str, Told] = field(default_factory=dict)
    dispatches: list[Dispatch] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    asked_ms: dict[str, int] = field(default_factory=dict)
    """When the log got the newest cancellation of an id."""
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)
    """The newest of each worker."""
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def deployment(self) -> str:
        return f"{self.model}@v1"

    def of(self, origin: str) -> Told:
        return self.told.setdefault(origin, Told())

    def ended(self, *origins: str) -> bool:
        return all(self.of(origin).end is not None for origin in origins)

    @property
    def generated(self) -> list[Dispatch]:
        """Dispatches that are given to the engine."""
        return [dispatch for dispatch in self.dispatches if dispatch.primary is None]

    async def send(
        self, request_id: str | None, body: Any, *, latency_class: str = "interactive", **fields: Any
    ) -> str:
        """Produce a request: its origin."""
        request = Request(id=request_id, body=body, **fields)
        key = (request_id or "").encode()
        sent = await self.producer.send_and_wait(Lane(self.model, latency_class).topic, encode(request), key=key)
        return origin_of(sent.topic, sent.partition, sent.offset)

    async def cancel(self, request_id: str, *, tenant: str = DEFAULT_TENANT) -> int:
        """Produce a cancellation: its broker time in milliseconds."""
        cancellation = Cancellation(id=request_id, model=self.model, tenant=tenant)
        sent = await self.producer.send_and_wait(names.CANCELLATIONS, encode(cancellation))
        return int(sent.timestamp)

    def requests(self, origin: str) -> list[dict[str, Any]]:
        """Rows of the table `requests` of one origin."""
        return [
            row
            for row in self.rows.get("requests", [])
            if origin_of(row["lane_topic"], row["lane_partition"], row["lane_offset"]) == origin
        ]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.rows.get("events", []) if row["kind"] == kind and row["model"] == self.model]

    def started(self, origin: str) -> list[Started]:
        return [record for record in self.of(origin).records if isinstance(record, Started)]


@asynccontextmanager
async def a_mill(
    bootstrap: str,
    model: str,
    engine: SimulatedDeployment = SLOW,
    *,
    slots: int = 2,
    classes: tuple[str, ...] = ("interactive", "bulk"),
    **changes: Any,
) -> AsyncIterator[Mill]:
    """Topics made, nothing running, everything read."""
    settings = Settings(
        kafka=KafkaSettings(brokers=bootstrap),
        models={model: ModelSettings(stable=f"{model}@v1", classes=classes, slots=slots, **changes)},
        deployments={f"{model}@v1": engine},
    )
    await broker_topics.create(settings.kafka, catalogue(settings.layout()))
    producer = clients.producer(settings.kafka, client_id="mill")
    await producer.start()
    mill = Mill(settings=settings, model=model, producer=producer)
    reading = asyncio.ensure_future(_read(mill))
    try:
        yield mill
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        await producer.stop()


@asynccontextmanager
async def running(mill: Mill, *, processors: int = 1, workers: int = 1) -> AsyncIterator[None]:
    """Processors and workers as tasks."""
    stop = asyncio.Event()
    tasks = [asyncio.ensure_future(processor(mill.settings, (mill.model,), stop)) for _ in range(processors)]
    tasks += [asyncio.ensure_future(worker(mill.settings, mill.deployment, stop, grace_s=2)) for _ in range(workers)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait(tasks, timeout=30)


_PROCESS = """
import sys, msgspec
from pipeline.runtime.process import run
from pipeline.settings import Settings
from pipeline.worker.main import main
settings = msgspec.json.decode(sys.argv[1], type=Settings)
sys.exit(run(lambda stop: main(settings, sys.argv[2], stop), log_level="WARNING"))
"""


async def a_worker_process(mill: Mill) -> asyncio.subprocess.Process:
    """A worker as a process, to be killed by the caller."""
    settings = msgspec.json.encode(msgspec.to_builtins(mill.settings)).decode()
    return await asyncio.create_subprocess_exec(sys.executable, "-c", _PROCESS, settings, mill.deployment)


async def _read(mill: Mill) -> None:
    slots, workers = names.dispatch_topic(mill.deployment), names.workers_topic(mill.model)
    topics = (names.RESPONSES, names.TRACE, names.CANCELLATIONS, slots, workers)
    consumer = clients.consumer(mill.settings.kafka, client_id="mill-reader")
    await consumer.start()
    try:
        cluster = await consumer._client.fetch_all_metadata()
        places = [TopicPartition(t, p) for t in topics for p in sorted(cluster.partitions_for_topic(t) or ())]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    _feed(mill, partition.topic, record)
    finally:
        await consumer.stop()


def _feed(mill: Mill, topic: str, record: Any) -> None:
    if topic == names.RESPONSES:
        response = decode_response(record.value)
        if f".{mill.model}." in response.origin:
            mill.of(response.origin).feed(response, record.timestamp)
    elif topic == names.TRACE:
        table = (header(record.headers, "table") or b"").decode()
        found: pa.Table = decode_rows(record.value)
        mill.rows.setdefault(table, []).extend(found.to_pylist())
    elif topic == names.CANCELLATIONS:
        mill.asked_ms[decode_cancellation(record.value).id] = record.timestamp
    elif topic == names.workers_topic(mill.model):
        told = decode_workers_record(record.value)
        if isinstance(told, Heartbeat):
            mill.heartbeats[told.worker] = told
    else:
        decoded = decode_slot_record(record.value)
        if isinstance(decoded, Dispatch):
            mill.dispatches.append(decoded)
        elif isinstance(decoded, Cancel):
            mill.cancels.append(decoded)
