"""Reading logs without a group: which partitions exist, where to begin, and what they hold up to their present ends."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings

Record: TypeAlias = ConsumerRecord[Any, Any]
RECORD_S: Final = 10.0
CLOCKS_MS: Final = 60_000
"""Brokers' clocks may differ by so much: what followed on a record is looked for from this long before its time on."""


@asynccontextmanager
async def reader(settings: KafkaSettings, *, client_id: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer without a group, stopped at the end of the block."""
    consumer = kafka.consumer(settings, client_id=client_id)
    try:
        await consumer.start()
        await asyncio.sleep(0)  # a consumer whose background task never ran a step cannot be stopped in order
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


async def begin(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], *, since_ms: int | None = None
) -> dict[TopicPartition, int]:
    """Assign `partitions`, from their oldest records on or from the first that is not older than `since_ms`.

    Args:
        consumer: without a group.
        partitions: existing ones; what was assigned before is given up.
        since_ms: broker time in milliseconds since the epoch.

    Returns:
        The ends that the partitions have at this moment.
    """
    consumer.assign(partitions)
    if not partitions:
        return {}
    ends: dict[TopicPartition, int] = dict(await consumer.end_offsets(partitions))
    if since_ms is None:
        await consumer.seek_to_beginning(*partitions)
    else:
        firsts = await offsets_since(consumer, dict.fromkeys(partitions, since_ms), ends)
        for partition, offset in firsts.items():
            consumer.seek(partition, offset)
    return ends


async def offsets_since(
    consumer: AIOKafkaConsumer, since_ms: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """The first offsets of partitions that are not older than a time, in milliseconds since the epoch by the broker's
    clock; the ends where everything is older.
    """
    if not since_ms:
        return {}
    found = await consumer.offsets_for_times({partition: max(at_ms, 0) for partition, at_ms in since_ms.items()})
    return {
        partition: ends[partition] if (place := found.get(partition)) is None else min(place.offset, ends[partition])
        for partition in since_ms
    }


async def record_at(consumer: AIOKafkaConsumer, topic: str, partition: int, offset: int) -> Record | None:
    """The record at an address; None where there is none, or it is not kept any more. Assigns its partition.

    Raises:
        TimeoutError: the broker did not bring it within 10 s.
    """
    place = TopicPartition(topic, partition)
    if place not in await existing_partitions(consumer, [topic]):
        return None
    consumer.assign([place])
    first, end = (await consumer.beginning_offsets([place]))[place], (await consumer.end_offsets([place]))[place]
    if not first <= offset < end:
        return None
    consumer.seek(place, offset)
    async with asyncio.timeout(RECORD_S):
        record: Record = await consumer.getone(place)
    return record if record.offset == offset else None


async def is_read(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether every partition was read up to these ends."""
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])


async def read_to(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> AsyncIterator[Sequence[Record]]:
    """The records of assigned partitions from their positions up to `ends`, a batch of one partition at a time."""
    while not await is_read(consumer, ends):
        for records in (await consumer.getmany(timeout_ms=200, max_records=2000)).values():
            yield records
