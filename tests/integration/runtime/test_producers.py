"""A producer keeps its records through an outage, and lets go of them when it is told to stop."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, ProducerClosed

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime import kafka as clients
from pipeline.settings import KafkaSettings
from tests.eventually import eventually
from tests.integration.runtime.records import a_producer, kill, make_topic, read_all, start

pytestmark = [pytest.mark.integration, pytest.mark.slow]

UniqueName = Callable[[str], str]


async def delete(settings: KafkaSettings, topic: str) -> None:
    admin: AIOKafkaAdminClient = clients.admin(settings)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


async def test_records_outlast_a_partition_that_is_without_a_leader_for_long(
    settings: KafkaSettings, unique_name: UniqueName
) -> None:
    topic = await make_topic(settings, unique_name("orders"))
    place = TopicPartition(topic, 0)
    async with a_producer(settings, request_timeout_ms=200) as producer:
        await producer.send_and_wait(topic, b"before")
        await delete(settings, topic)
        sent = await producer.send(topic, b"meanwhile")
        await eventually(lambda: producer.client.cluster.leader_for_partition(place) is None, within_s=20)
        await asyncio.wait([sent], timeout=0.5)  # longer than the producer's time-out for a request
        assert not sent.done()
        await make_topic(settings, topic)
        await asyncio.wait_for(sent, 30)
    assert [record.value for record in await read_all(settings, topic)] == [b"meanwhile"]


@pytest.mark.timeout(180)
async def test_a_producer_without_a_broker_stops_and_fails_what_is_left(own_broker: KafkaBroker) -> None:
    settings = KafkaSettings(brokers=own_broker.bootstrap)
    topic = await make_topic(settings, "orders")
    producer = clients.producer(settings, client_id="left-alone")
    await producer.start()
    await producer.send_and_wait(topic, b"before")
    await kill(own_broker)
    sent = await producer.send(topic, b"too late")
    await asyncio.wait_for(producer.stop(), 30)
    with pytest.raises(ProducerClosed):
        await sent
    await producer.stop()


@pytest.mark.timeout(180)
async def test_nothing_is_lost_or_doubled_when_the_broker_dies_and_comes_back(own_broker: KafkaBroker) -> None:
    settings = KafkaSettings(brokers=own_broker.bootstrap)
    topic = await make_topic(settings, "orders")
    async with a_producer(settings) as producer:
        sent = [await producer.send(topic, b"%d" % n) for n in range(2_000)]
        await sent[500]
        await kill(own_broker)
        await start(own_broker)
        await asyncio.wait_for(asyncio.gather(*sent), 60)
    assert [record.value for record in await read_all(settings, topic)] == [b"%d" % n for n in range(2_000)]


async def test_a_producer_that_finds_no_broker_says_so_and_can_be_stopped() -> None:
    producer = clients.producer(KafkaSettings(brokers="127.0.0.1:1"), client_id="alone")
    with pytest.raises(KafkaError):
        await producer.start()
    await producer.stop()
