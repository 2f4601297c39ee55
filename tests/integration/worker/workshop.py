"""A cluster for tests of the worker: topics of their own, workers as tasks or as processes, dispatches, answers."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError

from pipeline.engines.protocol import Engine, EngineRequest
from pipeline.engines.simulated.sequence import Sequence
from pipeline.runtime import kafka as clients
from pipeline.runtime import topics as broker_topics
from pipeline.settings import Deployment, KafkaSettings, ModelSettings, Settings, SimulatedDeployment, TopicSettings
from pipeline.worker.main import main
from tests.eventually import eventually
from tests.unit.worker.builders import a_dispatch
from topics import names
from topics.bodies import decode_body
from topics.catalogue import catalogue
from topics.codec import decode_response, encode
from topics.dispatches import Cancel, Dispatch
from topics.reader import Reader, Verdict
from topics.responses import Response

FREE = SimulatedDeployment(fixed_us=0, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0)
SLOW = SimulatedDeployment(fixed_us=20_000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0)
"""50 tokens a second."""


@dataclass
class Workshop:
    """One model with one deployment, `<model>@v1`, and clients of it."""

    settings: Settings
    model: str
    producer: AIOKafkaProducer
    partitions: int
    _seq: int = 0
    _tasks: list[asyncio.Task[int]] = field(default_factory=list)

    @property
    def deployment(self) -> str:
        return f"{self.model}@v1"

    @property
    def dispatch_topic(self) -> str:
        return names.dispatch_topic(self.deployment)

    @property
    def group(self) -> str:
        return f"millrace.{self.model}.v1"

    def dispatch(self, request_id: str, **changes: Any) -> Dispatch:
        """A dispatch for this model, due in a minute, answered in a partition of the common response topic."""
        self._seq += 1
        now_ms = int(time.time() * 1000)
        lane = names.Lane(self.model, "interactive").topic
        return a_dispatch(
            **{
                "id": request_id,
                "model": self.model,
                "deployment": self.deployment,
                "origin": names.origin_of(lane, 0, self._seq),
                "deadline_at_ms": now_ms + 60_000,
                "seq": self._seq,
                "produced_at_us": now_ms * 1000,
                **changes,
            }
        )

    async def send(self, *records: Dispatch | Cancel | bytes, slot: int = 0) -> None:
        """Put records into a slot and wait until the broker has them."""
        values = [record if isinstance(record, bytes) else encode(record) for record in records]
        sent = [await self.producer.send(self.dispatch_topic, value, key=b"k", partition=slot) for value in values]
        await asyncio.gather(*sent)

    async def committed(self, slot: int = 0) -> tuple[int, str]:
        """Offset and metadata that the group has committed; offset -1 where it has not."""
        admin = clients.admin(self.settings.kafka)
        await admin.start()
        try:
            partition = TopicPartition(self.dispatch_topic, slot)
            found = await admin.list_consumer_group_offsets(self.group, partitions=[partition])
        except GroupCoordinatorNotAvailableError:
            return -1, ""
        else:
            return (found[partition].offset, found[partition].metadata) if partition in found else (-1, "")
        finally:
            await admin.close()

    async def limit_records(self, topic: str, *, max_bytes: int) -> None:
        """Make the broker refuse larger batches on a topic."""
        admin = clients.admin(self.settings.kafka)
        await admin.start()
        try:
            limit = {"max.message.bytes": str(max_bytes)}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=limit)])
        finally:
            await admin.close()

    async def owned(self, *slots: int) -> None:
        """Return when a worker has proved that it owns the slots: its first commit is there."""

        async def is_owned() -> bool:
            return all([(await self.committed(slot))[0] >= 0 for slot in slots])

        await eventually(is_owned, within_s=40)

    async def end(self, slot: int = 0) -> int:
        """End offset of a slot."""
        consumer = clients.consumer(self.settings.kafka, client_id="end")
        await consumer.start()
        try:
            partition = TopicPartition(self.dispatch_topic, slot)
            return int((await consumer.end_offsets([partition]))[partition])
        finally:
            await consumer.stop()


@dataclass
class Answers:
    """What a reader of one response partition has, judged by the reader rule."""

    records: list[Response] = field(default_factory=list)
    accepted: dict[str, list[Response]] = field(default_factory=dict)
    _readers: dict[str, Reader] = field(default_factory=dict)

    def feed(self, record: Response) -> None:
        self.records.append(record)
        reader = self._readers.setdefault(record.origin, Reader())
        if reader.feed(record) is not Verdict.IGNORED:
            self.accepted.setdefault(record.id, []).append(record)

    def ended(self, *ids: str) -> bool:
        """Whether all these requests have their terminal record."""
        ends = {record.id for record in self.records if self._readers[record.origin].has_ended}
        return ends >= set(ids)

    def kinds(self, request_id: str) -> list[str]:
        """Types of the accepted records of a request, in order."""
        return [str(record.__struct_config__.tag) for record in self.accepted.get(request_id, [])]

    def of(self, request_id: str, kind: type[Any]) -> list[Any]:
        """Accepted records of one type."""
        return [record for record in self.accepted.get(request_id, []) if isinstance(record, kind)]


@asynccontextmanager
async def a_workshop(
    bootstrap: str,
    model: str,
    engine: Deployment = FREE,
    *,
    slots: int = 1,
    pool: str | None = None,
    session_timeout_ms: int = 6000,
) -> AsyncIterator[Workshop]:
    """A cluster with its topics made."""
    settings = Settings(
        kafka=KafkaSettings(brokers=bootstrap, session_timeout_ms=session_timeout_ms),
        models={model: ModelSettings(stable=f"{model}@v1", classes=("interactive",), slots=slots)},
        deployments={f"{model}@v1": engine},
        topics=TopicSettings(pools=(pool,) if pool else ()),
    )
    await broker_topics.create(settings.kafka, catalogue(settings.layout()))
    producer = clients.producer(settings.kafka, client_id="workshop")
    await producer.start()
    try:
        yield Workshop(settings=settings, model=model, producer=producer, partitions=slots)
    finally:
        await producer.stop()


@asynccontextmanager
async def a_worker(
    workshop: Workshop,
    *,
    grace_s: float = 5.0,
    worker_id: str | None = None,
    make_engine: Callable[[Deployment], Callable[[int], Engine]] | None = None,
) -> AsyncIterator[Callable[[], "asyncio.Future[int]"]]:
    """A worker as a task; call what is yielded to stop it, and await its exit code."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(
        main(
            workshop.settings,
            workshop.deployment,
            stop,
            worker_id=worker_id,
            grace_s=grace_s,
            make_engine=make_engine,
        )
    )

    def stopped() -> "asyncio.Future[int]":
        stop.set()
        return task

    try:
        yield stopped
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


@asynccontextmanager
async def answers_of(workshop: Workshop, *, topic: str = names.RESPONSES, partition: int = 0) -> AsyncIterator[Answers]:
    """Reads a response partition from its end at entry on, in the background."""
    consumer = clients.consumer(workshop.settings.kafka, client_id="answers")
    await consumer.start()
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    await consumer.seek_to_end(place)
    answers = Answers()
    task = asyncio.ensure_future(_read(consumer, answers, workshop.model))
    try:
        yield answers
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, answers: Answers, model: str) -> None:
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                decoded = decode_response(record.value)
                if f".{model}." in decoded.origin:
                    answers.feed(decoded)


@asynccontextmanager
async def records_of(workshop: Workshop, topic: str, partition: int = 0) -> AsyncIterator[list[Any]]:
    """All raw records of a partition from its beginning on, read in the background."""
    consumer = clients.consumer(workshop.settings.kafka, client_id="records")
    await consumer.start()
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    await consumer.seek_to_beginning(place)
    found: list[Any] = []

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


_PROCESS = """
import asyncio, json, sys, msgspec
from pipeline.runtime.process import run
from pipeline.settings import Settings
from pipeline.worker.main import main
settings = msgspec.json.decode(sys.argv[1], type=Settings)
sys.exit(run(lambda stop: main(settings, sys.argv[2], stop), log_level="WARNING"))
"""


async def a_worker_process(
    workshop: Workshop, *, python: Path | str = sys.executable, log: Path | None = None
) -> asyncio.subprocess.Process:
    """A worker as a process, to be killed by the caller; `python` is the interpreter of its engine's environment."""
    settings = json.dumps(_plain(workshop.settings))
    with log.open("ab") if log is not None else nullcontext() as stderr:
        return await asyncio.create_subprocess_exec(
            python, "-c", _PROCESS, settings, workshop.deployment, env={**os.environ}, stderr=stderr
        )


def undisturbed(dispatch: Dispatch) -> tuple[list[int], str]:
    """Tokens and text of the answer that a simulated engine gives where nothing happens to it."""
    body = decode_body(dispatch.endpoint, dispatch.body)
    request = EngineRequest(key="k", endpoint=dispatch.endpoint, body=body)
    whole = Sequence(request, max_context_tokens=FREE.max_context_tokens).finish()
    return whole.token_ids, whole.text


def _plain(settings: Settings) -> Any:
    import msgspec

    return msgspec.to_builtins(settings)
