"""The embedded broker is a real Kafka: it keeps what it acknowledged, and two of them do not meet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.devstack.kafka import KafkaBroker
from infra.devstack.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@asynccontextmanager
async def a_producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def create_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def topics_of(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def read_all(bootstrap: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while await consumer.position(partition) < end:
            batch = await consumer.getmany(partition, timeout_ms=1000)
            values += [record.value for record in batch.get(partition, [])]
        return values
    finally:
        await consumer.stop()


async def test_what_is_produced_is_consumed_in_order(kafka: KafkaBroker, unique_name: Callable[[str], str]) -> None:
    topic = unique_name("orders")
    await create_topic(kafka.bootstrap, topic)
    async with a_producer(kafka.bootstrap) as producer:
        await asyncio.gather(*[await producer.send(topic, b"%d" % n) for n in range(100)])
    assert await read_all(kafka.bootstrap, topic) == [b"%d" % n for n in range(100)]


async def test_every_acknowledged_record_survives_kill_and_restart(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        broker = await asyncio.to_thread(stack.kafka)
        await create_topic(broker.bootstrap, "orders")
        async with a_producer(broker.bootstrap) as producer:
            sent = [await producer.send("orders", b"%d" % n) for n in range(1_000)]
            await sent[499]  # the broker dies while the second half is on its way
            await asyncio.to_thread(broker.kill)
            assert not broker.alive
            await asyncio.to_thread(broker.start)
            await asyncio.gather(*sent)
        assert await read_all(broker.bootstrap, "orders") == [b"%d" % n for n in range(1_000)]


async def test_two_brokers_side_by_side_share_nothing(kafka: KafkaBroker, unique_name: Callable[[str], str]) -> None:
    topic = unique_name("only-here")
    async with Stack() as stack:
        other = await asyncio.to_thread(stack.kafka)
        await create_topic(other.bootstrap, topic)
        assert topic in await topics_of(other.bootstrap)
        assert topic not in await topics_of(kafka.bootstrap)


async def test_a_broker_starts_again_on_the_folder_of_a_former_one(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        former = await asyncio.to_thread(stack.kafka)
        await create_topic(former.bootstrap, "kept")
    async with Stack(tmp_path) as stack:
        latter = await asyncio.to_thread(stack.kafka)
        assert "kept" in await topics_of(latter.bootstrap)
