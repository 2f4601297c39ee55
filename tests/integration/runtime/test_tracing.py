"""Trace rows reach the broker before they count as delivered, in order, and none is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime.tracing import CHUNK_ROWS, TraceShipper
from pipeline.settings import KafkaSettings
from tests.eventually import eventually
from tests.integration.runtime.records import a_producer, kill, make_topic, read_all, start
from topics.headers import TABLE, header
from topics.trace import decode_rows
from topics.trace_rows import EventRow

pytestmark = [pytest.mark.integration, pytest.mark.slow]

UniqueName = Callable[[str], str]


def an_event(number: int, **fields: object) -> EventRow:
    return EventRow(
        ts=number,
        kind="request.admitted",
        component="processor",
        process="p",
        queue_depth=number,
        **fields,  # type: ignore[arg-type]
    )


def add(shipper: TraceShipper, count: int) -> int:
    """Adds the next `count` events, numbered by their marks from 0."""
    for number in range(shipper.mark, shipper.mark + count):
        shipper.add(an_event(number))
    return shipper.mark


@asynccontextmanager
async def a_shipper(settings: KafkaSettings, topic: str) -> AsyncIterator[tuple[TraceShipper, AIOKafkaProducer]]:
    async with a_producer(settings) as producer:
        shipper = TraceShipper(producer, process="p", topic=topic)
        await shipper.start()
        try:
            yield shipper, producer
        finally:
            await shipper.stop()


async def numbers(settings: KafkaSettings, topic: str) -> list[int]:
    """Numbers of all events of a topic, in its order."""
    records = await read_all(settings, topic)
    return [n for record in records for n in decode_rows(record.value)["queue_depth"].to_pylist()]


async def test_a_delivered_row_is_on_the_broker(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    async with a_shipper(settings, topic) as (shipper, _):
        mark = add(shipper, 3)
        assert shipper.delivered == 0
        await shipper.wait_delivered(mark)
        assert shipper.delivered == 3
        assert await numbers(settings, topic) == [0, 1, 2]


async def test_a_message_names_its_table_and_its_process(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    async with a_shipper(settings, topic) as (shipper, _):
        await shipper.wait_delivered(add(shipper, 1))
    (record,) = await read_all(settings, topic)
    assert record.key == b"p"
    assert header(record.headers, TABLE) == b"events"


async def test_rows_keep_their_order_over_many_chunks(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    total = 3 * CHUNK_ROWS + 17
    async with a_shipper(settings, topic) as (shipper, _):
        await shipper.wait_delivered(add(shipper, total))
    assert await numbers(settings, topic) == list(range(total))


async def test_one_process_stays_on_one_partition(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = await make_topic(settings, unique_name("trace"), partitions=4)
    async with a_shipper(settings, topic) as (shipper, producer):
        await shipper.wait_delivered(add(shipper, 1200))
        ends = await ends_of(settings, topic, await producer.partitions_for(topic))
    assert sorted(ends) == [0, 0, 0, 3]


async def ends_of(settings: KafkaSettings, topic: str, partitions: set[int]) -> list[int]:
    return [len(await read_all(settings, topic, partition=partition)) for partition in partitions]


async def test_stop_ships_the_rest(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    async with a_producer(settings) as producer:
        shipper = TraceShipper(producer, process="p", topic=topic)
        await shipper.start()
        mark = add(shipper, CHUNK_ROWS + 1)
        await shipper.stop()
        assert shipper.delivered == mark
    assert await numbers(settings, topic) == list(range(mark))


async def test_stop_ships_the_rest_of_a_shipper_that_never_started(
    settings: KafkaSettings, unique_name: UniqueName
) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    async with a_producer(settings) as producer:
        shipper = TraceShipper(producer, process="p", topic=topic)
        add(shipper, 2)
        await shipper.stop()
        await shipper.stop()
    assert await numbers(settings, topic) == [0, 1]


@pytest.mark.timeout(240)
async def test_a_broker_that_dies_in_mid_shipment_costs_no_row_and_doubles_none(own_broker: KafkaBroker) -> None:
    settings = KafkaSettings(brokers=own_broker.bootstrap)
    topic = await make_topic(settings, "trace")
    async with a_shipper(settings, topic) as (shipper, _):
        await shipper.wait_delivered(add(shipper, 100))
        total = add(shipper, 5 * CHUNK_ROWS)
        await eventually(lambda: shipper.delivered > 100, within_s=20, every_s=0.001)
        await kill(own_broker)
        assert shipper.delivered < total
        total = add(shipper, 500)
        await start(own_broker)
        await asyncio.wait_for(shipper.wait_delivered(total), 90)
        assert await numbers(settings, topic) == list(range(total))


@pytest.mark.timeout(180)
async def test_stopping_without_a_broker_gives_up_and_says_that_nothing_is_delivered(
    own_broker: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    settings = KafkaSettings(brokers=own_broker.bootstrap)
    topic = await make_topic(settings, "trace")
    async with a_producer(settings) as producer:
        shipper = TraceShipper(producer, process="p", topic=topic)
        await shipper.start()
        await shipper.wait_delivered(add(shipper, 1))
        await kill(own_broker)
        add(shipper, 7)
        await asyncio.wait_for(shipper.stop(within_s=0.5), 20)
        assert shipper.delivered == 1
        await asyncio.wait_for(producer.stop(), 20)
    assert "7 trace rows stay undelivered after 0.5 s" in caplog.text


async def test_a_topic_that_is_made_later_gets_all_rows(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = unique_name("trace")
    async with a_producer(settings, request_timeout_ms=500) as producer:
        shipper = TraceShipper(producer, process="p", topic=topic)
        await shipper.start()
        mark = add(shipper, 5)
        await make_topic(settings, topic)
        await asyncio.wait_for(shipper.wait_delivered(mark), 30)
        await shipper.stop()
    assert await numbers(settings, topic) == [0, 1, 2, 3, 4]


async def test_a_message_that_is_too_large_is_sent_in_parts(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    async with a_shipper(settings, topic) as (shipper, _):
        for number in range(100):
            shipper.add(an_event(number, detail="x" * 60_000))  # 6 MB, and 2 MiB is the limit
        await asyncio.wait_for(shipper.wait_delivered(100), 30)
        assert shipper.given_up == 0
    assert await numbers(settings, topic) == list(range(100))


async def test_rows_that_nothing_can_hold_do_not_hold_up_the_others(
    settings: KafkaSettings, unique_name: UniqueName, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    async with a_shipper(settings, topic) as (shipper, _):
        shipper.add(an_event(0))
        shipper.add(an_event(1, duration_us=-1))
        shipper.add(an_event(2, detail="secret" * 1_000_000))
        shipper.add(an_event(3))
        await asyncio.wait_for(shipper.wait_delivered(4), 30)
        assert shipper.given_up == 2
    assert sorted(await numbers(settings, topic)) == [0, 3]
    assert "secret" not in caplog.text


async def test_a_producer_that_the_broker_has_forgotten_goes_on_as_a_fresh_one(
    settings: KafkaSettings, unique_name: UniqueName
) -> None:
    topic = await make_topic(settings, unique_name("trace"))
    async with a_shipper(settings, topic) as (shipper, producer):
        await shipper.wait_delivered(add(shipper, 1))
        # As after the loss of acknowledged records: the broker's count is behind the producer's.
        producer._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 5)
        await asyncio.wait_for(shipper.wait_delivered(add(shipper, 2)), 30)
    assert await numbers(settings, topic) == [0, 1, 2]
