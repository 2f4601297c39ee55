"""Helpers of the tests in this folder: topics to use up, and what lies in them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime import kafka as clients
from pipeline.runtime import topics
from pipeline.settings import KafkaSettings
from topics.catalogue import HOUR_MS, Topic


def a_topic(name: str, *, partitions: int = 1, retention_ms: int = HOUR_MS) -> Topic:
    return Topic(name=name, key="-", value="any", partitions=partitions, retention_ms=retention_ms)


async def make_topic(settings: KafkaSettings, name: str, *, partitions: int = 1) -> str:
    await topics.create(settings, (a_topic(name, partitions=partitions),))
    return name


@asynccontextmanager
async def a_producer(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = clients.producer(settings, client_id="test", **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def read_all(settings: KafkaSettings, topic: str, *, partition: int = 0) -> list[ConsumerRecord[Any, Any]]:
    """Every record of a partition, up to where it ends now."""
    place = TopicPartition(topic, partition)
    reader = clients.consumer(settings, client_id="reader")
    await reader.start()
    try:
        reader.assign([place])
        end = (await reader.end_offsets([place]))[place]
        found: list[ConsumerRecord[Any, Any]] = []
        await reader.seek_to_beginning(place)
        while await reader.position(place) < end:
            found += (await reader.getmany(timeout_ms=200)).get(place, [])
        return found
    finally:
        await reader.stop()


async def kill(broker: KafkaBroker) -> None:
    await asyncio.to_thread(broker.kill)


async def start(broker: KafkaBroker) -> None:
    await asyncio.to_thread(broker.start)
