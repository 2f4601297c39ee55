"""A broadcast reader feeds every record once and in order, through whatever happens to the broker."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaConnectionError, KafkaError

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime.broadcasts import BroadcastReader, Start
from pipeline.settings import KafkaSettings
from tests.eventually import eventually
from tests.integration.runtime.records import a_producer, kill, make_topic, start
from topics.errors import CodecError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

UniqueName = Callable[[str], str]


class Listener:
    """Takes records in; `broken` and `faulty` are values that it cannot read."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def __call__(self, record: ConsumerRecord[Any, Any]) -> None:
        if record.value == b"broken":
            raise CodecError("not a broadcast")
        if record.value == b"faulty":
            raise ZeroDivisionError
        self.heard.append(record.value)


def a_reader(
    settings: KafkaSettings, topic: str, listener: Listener, *, begin: Start = "latest", topics_within_s: float = 5.0
) -> BroadcastReader:
    return BroadcastReader(
        settings, (topic,), listener, client_id="listener", start=begin, topics_within_s=topics_within_s
    )


async def say(settings: KafkaSettings, topic: str, *values: bytes, partition: int = 0) -> None:
    async with a_producer(settings) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition)


async def has_heard(listener: Listener, *values: bytes, within_s: float = 20) -> None:
    await eventually(lambda: listener.heard == list(values), within_s=within_s)


@pytest.mark.parametrize(("begin", "before"), [("latest", []), ("recent", [b"old"]), ("earliest", [b"old"])])
async def test_a_reader_begins_where_it_is_told(
    settings: KafkaSettings, unique_name: UniqueName, begin: Start, before: list[bytes]
) -> None:
    topic, listener = await make_topic(settings, unique_name("beats")), Listener()
    await say(settings, topic, b"old")
    reader = a_reader(settings, topic, listener, begin=begin)
    await reader.start()
    await say(settings, topic, b"new")
    await has_heard(listener, *before, b"new")
    await reader.stop()


async def test_recent_leaves_out_what_is_older_than_ten_seconds(
    settings: KafkaSettings, unique_name: UniqueName, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, listener = await make_topic(settings, unique_name("beats")), Listener()
    await say(settings, topic, b"old")
    monkeypatch.setattr("pipeline.runtime.broadcasts.RECENT_MS", -1000)  # as if the record had been there for long
    reader = a_reader(settings, topic, listener, begin="recent")
    await reader.start()
    await say(settings, topic, b"new")
    await has_heard(listener, b"new")
    await reader.stop()


async def test_every_partition_of_every_topic_is_read(settings: KafkaSettings, unique_name: UniqueName) -> None:
    listener = Listener()
    one = await make_topic(settings, unique_name("beats"), partitions=2)
    other = await make_topic(settings, unique_name("cancels"))
    reader = BroadcastReader(settings, (one, other), listener, client_id="listener")
    await reader.start()
    await say(settings, one, b"a", partition=0)
    await say(settings, one, b"b", partition=1)
    await say(settings, other, b"c")
    await eventually(lambda: sorted(listener.heard) == [b"a", b"b", b"c"], within_s=20)
    await reader.stop()


async def test_what_cannot_be_read_is_counted_and_skipped(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic, listener = await make_topic(settings, unique_name("beats")), Listener()
    reader = a_reader(settings, topic, listener)
    await reader.start()
    await say(settings, topic, b"1", b"broken", b"faulty", b"2")
    await has_heard(listener, b"1", b"2")
    assert reader.skipped == 2
    await reader.stop()


async def test_a_topic_that_does_not_exist_is_named(settings: KafkaSettings, unique_name: UniqueName) -> None:
    topic = unique_name("absent")
    with pytest.raises(KafkaError, match=f"topic {topic} does not exist; make it with"):
        await a_reader(settings, topic, Listener(), topics_within_s=0.3).start()


async def test_a_topic_that_is_made_a_moment_later_is_waited_for(
    settings: KafkaSettings, unique_name: UniqueName
) -> None:
    topic, listener = unique_name("beats"), Listener()
    reader = a_reader(settings, topic, listener, topics_within_s=60)
    starting = asyncio.create_task(reader.start())
    await make_topic(settings, topic)
    await starting
    await say(settings, topic, b"1")
    await has_heard(listener, b"1")
    await reader.stop()


async def test_a_broker_that_is_not_there_is_an_error_of_the_start() -> None:
    reader = a_reader(KafkaSettings(brokers="127.0.0.1:1"), "beats", Listener())
    with pytest.raises(KafkaConnectionError):
        await reader.start()
    await reader.stop()


@pytest.mark.timeout(180)
async def test_a_broker_that_dies_and_comes_back_costs_nothing(
    own_broker: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    settings, listener = KafkaSettings(brokers=own_broker.bootstrap), Listener()
    topic = await make_topic(settings, "beats")
    reader = a_reader(settings, topic, listener)
    await reader.start()
    await say(settings, topic, b"1")
    await has_heard(listener, b"1")
    await kill(own_broker)
    await start(own_broker)
    await say(settings, topic, b"2", b"3")
    await has_heard(listener, b"1", b"2", b"3", within_s=60)
    await reader.stop()
    ours = [record for record in caplog.records if record.name == "pipeline.runtime.broadcasts"]
    assert len([record for record in ours if record.levelno >= logging.WARNING]) <= 1


@pytest.mark.timeout(180)
async def test_a_reader_can_be_stopped_while_the_broker_is_gone(own_broker: KafkaBroker) -> None:
    settings = KafkaSettings(brokers=own_broker.bootstrap)
    reader = a_reader(settings, await make_topic(settings, "beats"), Listener())
    await reader.start()
    await kill(own_broker)
    await asyncio.wait_for(reader.stop(), 30)


async def test_when_the_client_stops_fetching_the_reader_goes_on_where_it_was(
    settings: KafkaSettings, unique_name: UniqueName, caplog: pytest.LogCaptureFixture
) -> None:
    topic, listener = await make_topic(settings, unique_name("beats")), Listener()
    reader = a_reader(settings, topic, listener)
    await reader.start()
    await say(settings, topic, b"1")
    await has_heard(listener, b"1")
    assert reader._consumer is not None
    reader._consumer._fetcher.error_future.cancel()
    await say(settings, topic, b"2")
    await has_heard(listener, b"1", b"2")
    await reader.stop()
    ours = [record.getMessage() for record in caplog.records if record.name == "pipeline.runtime.broadcasts"]
    assert len([line for line in ours if "trying again" in line]) == 1


async def test_when_fetching_fails_the_reader_goes_on_where_it_was(
    settings: KafkaSettings, unique_name: UniqueName, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, listener = await make_topic(settings, unique_name("beats")), Listener()
    reader = a_reader(settings, topic, listener)
    await reader.start()
    await say(settings, topic, b"1")
    await has_heard(listener, b"1")
    assert reader._consumer is not None
    failed = reader._consumer
    monkeypatch.setattr(failed._fetcher, "_get_actions_per_node", None)
    await eventually(failed._fetcher.error_future.done, within_s=20)
    await say(settings, topic, b"2")
    await has_heard(listener, b"1", b"2")
    assert isinstance(failed._fetcher.error_future.exception(), KafkaError)
    assert not any(conn.connected() for conn in failed._client._conns.values())
    await reader.stop()
    ours = [record.getMessage() for record in caplog.records if record.name == "pipeline.runtime.broadcasts"]
    assert len([line for line in ours if "trying again" in line]) == 1
    assert len([line for line in ours if "left a client that had failed" in line]) == 1


async def test_a_reader_whose_fetching_has_failed_can_be_stopped(
    settings: KafkaSettings, unique_name: UniqueName, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = a_reader(settings, await make_topic(settings, unique_name("beats")), Listener())
    await reader.start()
    assert reader._consumer is not None
    failed = reader._consumer
    monkeypatch.setattr(failed._fetcher, "_get_actions_per_node", None)
    await asyncio.wait([failed._fetcher.error_future], timeout=20)
    await reader.stop()
    assert failed._closed


async def test_stopping_twice_is_stopping_once(settings: KafkaSettings, unique_name: UniqueName) -> None:
    reader = a_reader(settings, await make_topic(settings, unique_name("beats")), Listener())
    await reader.start()
    await reader.stop()
    await reader.stop()
