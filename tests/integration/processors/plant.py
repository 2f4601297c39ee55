"""A cluster for tests of the processor: topics of their own, processors as tasks or processes, workers by hand."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from pipeline.processor.main import main
from pipeline.runtime import kafka as clients
from pipeline.runtime import topics as broker_topics
from pipeline.settings import ClassSettings, KafkaSettings, ModelSettings, Settings, SimulatedDeployment
from tests.unit.processors.builders import a_body, a_heartbeat
from topics import names
from topics.catalogue import catalogue
from topics.codec import decode_slot_record, encode
from topics.dispatches import Cancel, Dispatch, Owner
from topics.requests import Request

_PROCESS = """
import sys, msgspec
from pipeline.runtime.process import run
from pipeline.settings import Settings
from pipeline.processor.main import main
settings = msgspec.json.decode(sys.argv[1], type=Settings)
sys.exit(run(lambda stop: main(settings, (sys.argv[2],), stop), log_level="INFO"))
"""


@dataclass
class Plant:
    """One model with one deployment, `<model>@v1`, and a client of it."""

    settings: Settings
    model: str
    producer: AIOKafkaProducer
    _beats: int = 0

    @property
    def deployment(self) -> str:
        return f"{self.model}@v1"

    @property
    def dispatch_topic(self) -> str:
        return names.dispatch_topic(self.deployment)

    def lane(self, latency_class: str = "interactive") -> str:
        return names.Lane(self.model, latency_class).topic

    async def send(self, *values: Request | bytes | None, latency_class: str = "interactive", **options: Any) -> None:
        """Put records on a lane and wait until the broker has them."""
        raw = [encode(value) if isinstance(value, Request) else value for value in values]
        sent = [await self.producer.send(self.lane(latency_class), value, key=b"k", **options) for value in raw]
        await asyncio.gather(*sent)

    async def request(self, *ids: str, latency_class: str = "interactive", **fields: Any) -> None:
        await self.send(*(Request(id=i, body=a_body(), **fields) for i in ids), latency_class=latency_class)

    async def beat(self, worker: str = "w1", **changes: Any) -> None:
        """A heartbeat of a worker with room, written by hand."""
        self._beats += 1
        heartbeat = a_heartbeat(
            worker,
            **{
                "seq": self._beats,
                "free": 32,
                "kv": 200_000,
                "at_ms": int(time.time() * 1000),
                "model": self.model,
                "deployment": self.deployment,
                **changes,
            },
        )
        await self.producer.send_and_wait(names.workers_topic(self.model), encode(heartbeat), key=worker.encode())

    async def committed(self, topic: str, partition: int = 0) -> int:
        """Offset that the model's group has committed; -1 for none."""
        admin = clients.admin(self.settings.kafka)
        await admin.start()
        try:
            place = TopicPartition(topic, partition)
            found = await admin.list_consumer_group_offsets(f"millrace.{self.model}", partitions=[place])
            return int(found[place].offset)
        finally:
            await admin.close()


@asynccontextmanager
async def a_plant(
    bootstrap: str, model: str, *, queue_limit: int = 2000, session_timeout_ms: int = 6000, shards: int = 1
) -> AsyncIterator[Plant]:
    """A cluster with its topics made, lanes interactive and bulk."""
    classes = {
        "interactive": ClassSettings(priority=1, deadline_ms=60_000, ttft_ms=1000, tpot_ms=50, queue_limit=queue_limit),
        "bulk": ClassSettings(
            priority=3, deadline_ms=86_400_000, e2e_ms=3_600_000, shed=False, queue_limit=queue_limit
        ),
    }
    settings = Settings(
        kafka=KafkaSettings(brokers=bootstrap, session_timeout_ms=session_timeout_ms),
        models={model: ModelSettings(stable=f"{model}@v1", classes=("interactive", "bulk"), slots=2, shards=shards)},
        deployments={f"{model}@v1": SimulatedDeployment()},
        classes=classes,
    )
    await broker_topics.create(settings.kafka, catalogue(settings.layout()))
    producer = clients.producer(settings.kafka, client_id="plant")
    await producer.start()
    try:
        yield Plant(settings=settings, model=model, producer=producer)
    finally:
        await producer.stop()


@asynccontextmanager
async def a_processor(plant: Plant) -> AsyncIterator[Callable[[], "asyncio.Future[int]"]]:
    """A processor as a task; call what is yielded to stop it, and await its exit code."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(main(plant.settings, (plant.model,), stop))

    def stopped() -> "asyncio.Future[int]":
        stop.set()
        return task

    try:
        yield stopped
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def a_processor_process(plant: Plant) -> asyncio.subprocess.Process:
    """A processor as a process, to be killed by the caller."""
    settings = msgspec.json.encode(msgspec.to_builtins(plant.settings)).decode()
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROCESS, settings, plant.model, env={**os.environ}
    )


@asynccontextmanager
async def beating(
    plant: Plant, slot: list[ConsumerRecord[Any, Any]] | None = None, *, every_s: float = 0.1, **changes: Any
) -> AsyncIterator[None]:
    """A worker that beats in the background: everything in `slot` is seen, and has been finished at once."""

    async def run() -> None:
        while True:
            await plant.beat(**{"seen": seen_of(slot or []), **changes})
            await asyncio.sleep(every_s)

    task = asyncio.ensure_future(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def records_of(plant: Plant, topic: str, *partitions: int) -> AsyncIterator[list[ConsumerRecord[Any, Any]]]:
    """All records of some partitions from their beginning on, read in the background."""
    consumer = clients.consumer(plant.settings.kafka, client_id="records")
    await consumer.start()
    places = [TopicPartition(topic, partition) for partition in partitions or (0,)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    found: list[ConsumerRecord[Any, Any]] = []

    async def read() -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found.extend(records)

    task = asyncio.ensure_future(read())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.stop()


def slot_records(found: list[ConsumerRecord[Any, Any]]) -> list[Dispatch | Owner | Cancel]:
    return [decode_slot_record(record.value) for record in found]


def seen_of(found: list[ConsumerRecord[Any, Any]]) -> dict[str, int]:
    """Highest number of each sender, as a heartbeat reports it."""
    return {record.sender: record.seq for record in slot_records(found) if isinstance(record, Dispatch)}


def dispatched_ids(found: list[ConsumerRecord[Any, Any]]) -> list[str]:
    return [record.id for record in slot_records(found) if isinstance(record, Dispatch)]
