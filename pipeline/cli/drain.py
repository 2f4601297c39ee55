"""`millrace worker drain`: tells a worker to hand back what it has and to end, and waits until it has."""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK, reaching_kafka, tell
from pipeline.cli.farewell import Farewell, Heard, State, order
from pipeline.runtime import kafka
from pipeline.runtime.reading import begin, existing_partitions, read_to, reader
from pipeline.settings import Settings
from topics import names
from topics.codec import decode_return, decode_workers_record, encode
from topics.control import Drain
from topics.errors import TransportError
from topics.fleet import Heartbeat

HEARD_WITHIN_MS: Final = 10_000
TOLD_EVERY_S: Final = 0.5
_CLIENT: Final = "millrace-drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How it went. `state` is `stopped`, or `gone` for a worker that ended without a goodbye."""

    worker: str
    deployment: str
    state: State
    handed_back: int
    seconds: float


def run(args: argparse.Namespace) -> int:
    """Drain the worker of the command line."""
    settings = settings_of(args)
    with reaching_kafka(settings.kafka.brokers):
        drained = asyncio.run(
            drain(settings, args.worker, grace_s=args.grace, timeout_s=args.timeout, is_last_allowed=args.last)
        )
    if args.json:
        from pipeline.cli.output import emit_json

        emit_json(asdict(drained))
        return OK
    how = "has stopped" if drained.state == "stopped" else "is gone without a goodbye; its slots move by themselves"
    tell(f"worker {drained.worker} {how}: {drained.handed_back} handed back in {drained.seconds:.1f} s")
    return OK


async def drain(
    settings: Settings, worker: str, *, grace_s: float, timeout_s: float, is_last_allowed: bool = False
) -> Drained:
    """Drain a worker and wait until it has gone.

    Raises:
        SettingsError: there is no such worker, or it is the last one of its deployment.
        TransportError: it is silent, or still there `timeout_s` seconds after the grace period.
        KafkaError: the broker cannot be reached.
    """
    async with reader(settings.kafka, client_id=_CLIENT) as log, _producer(settings) as producer:
        heard = await _heard(log, settings)
        told = order(
            heard.values(),
            worker,
            grace_ms=round(grace_s * 1000),
            is_last_allowed=is_last_allowed,
            now_ms=_now_ms(),
        )
        deployment = heard[worker].heartbeat.deployment
        await _to_ends(log, names.model_of(deployment))
        began_s = time.monotonic()
        sent = await producer.send_and_wait(names.CONTROL, encode(told), key=told.key.encode())
        farewell = Farewell(told, since_ms=sent.timestamp)
        try:
            async with asyncio.timeout(grace_s + timeout_s):
                state = await _follow(log, farewell)
        except TimeoutError:
            raise TransportError(
                f"worker {worker} is still there {grace_s + timeout_s:g} s after it was told ({farewell.progress}); "
                "it goes on draining by itself: look with `millrace status`"
            ) from None
        await _withdraw(producer, told)
        seconds = time.monotonic() - began_s
    return Drained(
        worker=worker, deployment=deployment, state=state, handed_back=farewell.handed_back, seconds=round(seconds, 3)
    )


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = kafka.producer(settings.kafka, client_id=_CLIENT)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def _heard(log: AIOKafkaConsumer, settings: Settings) -> dict[str, Heard]:
    """The newest heartbeat of each worker that was heard of lately."""
    topics = [names.workers_topic(model) for model in sorted(settings.models)]
    ends = await begin(log, await existing_partitions(log, topics), since_ms=_now_ms() - HEARD_WITHIN_MS)
    heard: dict[str, Heard] = {}
    async for records in read_to(log, ends):
        for record in records:
            said = decode_workers_record(record.value)
            if isinstance(said, Heartbeat):
                heard[said.worker] = Heard(heartbeat=said, at_ms=record.timestamp)
    return heard


async def _to_ends(log: AIOKafkaConsumer, model: str) -> None:
    """Read what is told from now on."""
    partitions = await existing_partitions(log, [names.workers_topic(model), names.returns_topic(model)])
    ends: dict[TopicPartition, int] = await log.end_offsets(partitions)
    log.assign(partitions)
    for partition, end in ends.items():
        log.seek(partition, end)


async def _follow(log: AIOKafkaConsumer, farewell: Farewell) -> State:
    """Read until the worker has gone, and say how far it is when that has changed."""
    said, said_at_s = "", 0.0
    while (state := farewell.state(_now_ms())) == "draining":
        for partition, records in (await log.getmany(timeout_ms=100)).items():
            for record in records:
                _feed(farewell, partition.topic, record)
        if farewell.progress != said and time.monotonic() - said_at_s >= TOLD_EVERY_S:
            said, said_at_s = farewell.progress, time.monotonic()
            tell(said)
    return state


def _feed(farewell: Farewell, topic: str, record: Any) -> None:
    if topic.startswith(names.returns_topic("")):
        farewell.on_return(decode_return(record.value))
        return
    heartbeat = decode_workers_record(record.value)
    if isinstance(heartbeat, Heartbeat):
        farewell.on_heartbeat(heartbeat, at_ms=record.timestamp)


async def _withdraw(producer: AIOKafkaProducer, told: Drain) -> None:
    """The order is carried out: compaction need not keep it."""
    await producer.send_and_wait(names.CONTROL, None, key=told.key.encode())


def _now_ms() -> int:
    return int(time.time() * 1000)
