"""Topics are made once, grown where they are too small, and otherwise left alone."""

from collections.abc import Callable

import pytest
from aiokafka.admin import NewTopic

from pipeline.runtime import kafka as clients
from pipeline.runtime import topics
from pipeline.settings import KafkaSettings
from tests.integration.runtime.records import a_topic
from topics.catalogue import HOUR_MS, Layout, ModelLayout, catalogue
from topics.errors import TransportError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

UniqueName = Callable[[str], str]


async def make_by_hand(settings: KafkaSettings, topic: str, config: dict[str, str]) -> None:
    admin = clients.admin(settings)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=config)])
    finally:
        await admin.close()


async def test_a_whole_catalogue_is_made_as_it_is_meant(settings: KafkaSettings, unique_name: UniqueName) -> None:
    model = ModelLayout(model=unique_name("tiny"), classes=("bulk",), deployments=(unique_name("tiny") + "@v1",))
    wanted = catalogue(Layout(models=(model,), pools=(unique_name("acme"),)))
    await topics.create(settings, wanted)
    found = await topics.verify(settings, wanted)
    assert [finding.topic for finding in found] == list(wanted)
    assert [finding.topic.name for finding in found if not finding.is_right] == []


async def test_what_is_missing_is_reported_before_it_is_made(settings: KafkaSettings, unique_name: UniqueName) -> None:
    wanted = (a_topic(unique_name("orders"), partitions=3),)
    (before,) = await topics.create(settings, wanted)
    assert before.partitions == 0
    assert not before.is_right
    (after,) = await topics.verify(settings, wanted)
    assert after.partitions == 3
    assert after.is_right


async def test_making_again_changes_nothing(settings: KafkaSettings, unique_name: UniqueName) -> None:
    wanted = (a_topic(unique_name("orders"), partitions=2),)
    await topics.create(settings, wanted)
    (before,) = await topics.create(settings, wanted)
    assert before.is_right
    assert await topics.verify(settings, wanted) == [before]


async def test_a_topic_with_too_few_partitions_grows(settings: KafkaSettings, unique_name: UniqueName) -> None:
    name = unique_name("orders")
    await topics.create(settings, (a_topic(name, partitions=1),))
    larger = (a_topic(name, partitions=4),)
    (before,) = await topics.create(settings, larger)
    assert before.partitions == 1
    (after,) = await topics.verify(settings, larger)
    assert after.partitions == 4


async def test_a_topic_with_more_partitions_than_needed_is_right(
    settings: KafkaSettings, unique_name: UniqueName
) -> None:
    name = unique_name("orders")
    await topics.create(settings, (a_topic(name, partitions=4),))
    (found,) = await topics.create(settings, (a_topic(name, partitions=2),))
    assert found.partitions == 4
    assert found.is_right


async def test_settings_that_differ_are_reported_and_left_alone(
    settings: KafkaSettings, unique_name: UniqueName
) -> None:
    name = unique_name("orders")
    await make_by_hand(settings, name, {"message.timestamp.type": "CreateTime", "retention.ms": "1000"})
    wanted = (a_topic(name, retention_ms=HOUR_MS),)
    await topics.create(settings, wanted)
    (found,) = await topics.verify(settings, wanted)
    assert not found.is_right
    assert set(found.differences) >= {
        "message.timestamp.type is CreateTime, expected LogAppendTime",
        f"retention.ms is 1000, expected {HOUR_MS}",
    }


async def test_too_few_replicas_are_a_difference(settings: KafkaSettings, unique_name: UniqueName) -> None:
    wanted = (a_topic(unique_name("orders")),)
    await topics.create(settings, wanted)
    three = KafkaSettings(brokers=settings.brokers, replication=3)
    (found,) = await topics.verify(three, wanted)
    assert found.differences == (
        "min.insync.replicas is 1, expected 2",
        "replication is 1, expected 3",
    )


async def test_a_refusal_of_the_broker_has_its_reason(settings: KafkaSettings, unique_name: UniqueName) -> None:
    name = unique_name("orders")
    three = KafkaSettings(brokers=settings.brokers, replication=3)
    with pytest.raises(TransportError, match=rf"topic {name} cannot be made: .*replication factor of 3"):
        await topics.create(three, (a_topic(name),))


async def test_an_empty_catalogue_is_made_at_once(settings: KafkaSettings) -> None:
    assert await topics.create(settings, ()) == []
