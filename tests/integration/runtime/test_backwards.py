"""Reading logs from their ends back, on a real broker."""

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime import kafka as clients
from pipeline.runtime.backwards import Backwards
from pipeline.runtime.reading import reader
from pipeline.settings import KafkaSettings

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]


async def a_topic(settings: KafkaSettings, topic: str, *counts: int) -> list[TopicPartition]:
    """A topic with so many records in each partition."""
    admin = clients.admin(settings)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, len(counts), 1)])
    finally:
        await admin.close()
    producer: AIOKafkaProducer = clients.producer(settings, client_id="backwards")
    await producer.start()
    try:
        for partition, count in enumerate(counts):
            for number in range(count):
                await producer.send_and_wait(topic, str(number).encode(), partition=partition)
    finally:
        await producer.stop()
    return [TopicPartition(topic, partition) for partition in range(len(counts))]


async def test_the_newest_step_comes_first_and_each_in_log_order(kafka: KafkaBroker, unique_name: Name) -> None:
    settings = KafkaSettings(brokers=kafka.bootstrap)
    long, short = await a_topic(settings, unique_name("t"), 10, 2)
    async with reader(settings, client_id="back") as consumer:
        reading = Backwards(consumer, {long: (1, 10), short: (0, 2)}, step=4)
        found = [(record.partition, record.offset) async for records in reading for record in records]
    assert [offset for partition, offset in found if partition == 0] == [6, 7, 8, 9, 2, 3, 4, 5, 1]
    assert [offset for partition, offset in found if partition == 1] == [0, 1]
    assert reading.left == {}


async def test_what_was_not_read_is_told(kafka: KafkaBroker, unique_name: Name) -> None:
    settings = KafkaSettings(brokers=kafka.bootstrap)
    (place,) = await a_topic(settings, unique_name("t"), 10)
    async with reader(settings, client_id="back") as consumer:
        reading = Backwards(consumer, {place: (0, 10)}, step=4)
        offsets: list[int] = []
        async for records in reading:
            offsets += [record.offset for record in records]
            if 2 in offsets:
                break
        assert reading.left == {place: (0, 6)}
        again = Backwards(consumer, reading.left, step=100)
        assert [record.offset async for records in again for record in records] == list(range(6))


async def test_nothing_is_read_of_empty_spans(kafka: KafkaBroker, unique_name: Name) -> None:
    settings = KafkaSettings(brokers=kafka.bootstrap)
    (place,) = await a_topic(settings, unique_name("t"), 1)
    async with reader(settings, client_id="back") as consumer:
        reading = Backwards(consumer, {place: (1, 1)})
        assert [records async for records in reading] == []
