"""Opening the one response partition that a client reads, at its end."""

import random
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics.errors import SettingsError
from topics.requests import ReplyTo

FETCH_WAIT_MS = 200
"""Long poll: the partition is never paused, so a long one only saves requests."""


async def open_at_end(
    settings: KafkaSettings, *, topic: str, partition: int | None, client_id: str
) -> tuple[AIOKafkaConsumer, ReplyTo]:
    """A started consumer without a group, and the partition that it reads: the given or a random one.

    Its position is the end that the partition has now: nothing that is written after the return can be missed.

    Raises:
        KafkaError: no broker answers.
        SettingsError: the topic or the partition does not exist.
    """
    consumer = kafka.consumer(settings, client_id=client_id, fetch_max_wait_ms=FETCH_WAIT_MS)
    try:
        await consumer.start()
        cluster = await consumer._client.fetch_all_metadata()
        chosen = choose(topic, partition, cluster.partitions_for_topic(topic) or ())
        place = TopicPartition(topic, chosen)
        consumer.assign([place])
        consumer.seek(place, (await consumer.end_offsets([place]))[place])
    except BaseException:
        await consumer.stop()
        raise
    return consumer, ReplyTo(topic=topic, partition=chosen)


def choose(topic: str, wanted: int | None, partitions: Collection[int]) -> int:
    """The wanted partition, or any.

    Raises:
        SettingsError: there is no such partition, or none at all.
    """
    if not partitions:
        raise SettingsError(f"topic {topic} does not exist; make it with `millrace topics create`")
    if wanted is None:
        return random.choice(sorted(partitions))
    if wanted not in partitions:
        raise SettingsError(f"{topic} has no partition {wanted}; choose one of 0..{max(partitions)}")
    return wanted
