"""Reading logs without a group: which partitions exist, and what they hold up to their present ends."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings

Record: TypeAlias = ConsumerRecord[Any, Any]


@asynccontextmanager
async def reader(settings: KafkaSettings, *, client_id: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer without a group, stopped at the end of the block."""
    consumer = kafka.consumer(settings, client_id=client_id)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def existing_partitions(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    """The partitions of those of `topics` that exist, in their order."""
    cluster = await consumer._client.fetch_all_metadata()
    return [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in sorted(cluster.partitions_for_topic(topic) or ())
    ]


async def is_read(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether every partition was read up to these ends."""
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])


async def read_to(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> AsyncIterator[Sequence[Record]]:
    """The records of assigned partitions from their positions up to `ends`, a batch of one partition at a time."""
    while not await is_read(consumer, ends):
        for records in (await consumer.getmany(timeout_ms=200, max_records=2000)).values():
            yield records
