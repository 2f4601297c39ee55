"""Making the topics of the catalogue, and verifying that a cluster has them as they should be.

The catalogue says what a topic is; how many replicas it has is the cluster's matter and comes from the settings. With
three or more, a majority has to have a record before it counts as acknowledged: otherwise one broker could acknowledge
alone, and what it acknowledged would be lost with it.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import BrokerResponseError, for_code

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics.catalogue import Topic
from topics.errors import TransportError

SERVED_WITHIN_S: Final = 30.0
SERVED_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a cluster has of one topic of the catalogue."""

    topic: Topic
    partitions: int
    """0 where the topic does not exist."""
    differences: tuple[str, ...] = ()
    """Settings that are not as the catalogue wants them, `name is value, expected value`."""

    @property
    def is_right(self) -> bool:
        """Whether nothing needs to be done."""
        return self.partitions >= self.topic.partitions and not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    partitions: int
    replication: int


_ABSENT: Final = _Size(partitions=0, replication=0)


async def verify(settings: KafkaSettings, catalogue: tuple[Topic, ...]) -> list[Finding]:
    """Compare the cluster with the catalogue, in its order.

    Raises:
        KafkaConnectionError: the broker cannot be reached.
    """
    client = kafka.admin(settings)
    await client.start()
    try:
        present = set(await client.list_topics())
        wanted = [topic for topic in catalogue if topic.name in present]
        sizes = await _sizes(client, wanted)
        configs = await _configs(client, wanted)
    finally:
        await client.close()
    return [
        _finding(topic, sizes.get(topic.name, _ABSENT), configs.get(topic.name, {}), settings.replication)
        for topic in catalogue
    ]


async def create(settings: KafkaSettings, catalogue: tuple[Topic, ...]) -> list[Finding]:
    """Make what is missing: topics, and partitions of topics that have too few. Existing settings are left alone.

    Returns when a broker serves what was made: it is told of it a moment after the controller has agreed.

    Returns:
        What was found before, so that the caller can say what was made.

    Raises:
        TransportError: the broker refused, and the message has its reason; or what was made is not served after 30 s.
    """
    found = await verify(settings, catalogue)
    client = kafka.admin(settings)
    await client.start()
    try:
        missing = [f.topic for f in found if f.partitions == 0]
        if missing:
            _raise_for(await client.create_topics([_new_topic(topic, settings) for topic in missing]))
        grow = {f.topic.name: NewPartitions(f.topic.partitions) for f in found if 0 < f.partitions < f.topic.partitions}
        if grow:
            _raise_for(await client.create_partitions(grow))
        if missing or grow:
            await _until_served(client, {topic.name: topic.partitions for topic in catalogue})
    except BrokerResponseError as error:
        raise TransportError(f"topics cannot be made: {error}") from error
    finally:
        await client.close()
    return found


async def _until_served(client: AIOKafkaAdminClient, partitions: dict[str, int]) -> None:
    """Wait until each topic has so many partitions with a leader."""
    give_up_at_s = time.monotonic() + SERVED_WITHIN_S
    behind = await _not_served(client, partitions)
    while behind:
        if time.monotonic() >= give_up_at_s:
            raise TransportError(f"topic {behind[0]} was made, but has no leader after {SERVED_WITHIN_S:g} s")
        await asyncio.sleep(SERVED_POLL_S)
        behind = await _not_served(client, partitions)


async def _not_served(client: AIOKafkaAdminClient, partitions: dict[str, int]) -> list[str]:
    described = await client.describe_topics(list(partitions))
    served = {entry["topic"]: sum(p["leader"] >= 0 for p in entry["partitions"]) for entry in described}
    return [topic for topic, count in partitions.items() if served.get(topic, 0) < count]


def _new_topic(topic: Topic, settings: KafkaSettings) -> NewTopic:
    config = _config(topic, settings.replication)
    return NewTopic(topic.name, topic.partitions, settings.replication, topic_configs=config)


def _config(topic: Topic, replication: int) -> dict[str, str]:
    majority = replication // 2 + 1
    return topic.config | ({"min.insync.replicas": str(majority)} if replication >= 3 else {})


def _raise_for(response: object) -> None:
    for topic, code, *message in getattr(response, "topic_errors", ()) or ():
        error = for_code(code)
        if code and error.__name__ != "TopicAlreadyExistsError":
            reason = next((m for m in message if m), error.__name__)
            raise TransportError(f"topic {topic} cannot be made: {reason}")


async def _sizes(client: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, _Size]:
    if not topics:
        return {}
    described = await client.describe_topics([topic.name for topic in topics])
    return {
        entry["topic"]: _Size(
            partitions=len(entry["partitions"]),
            replication=min((len(partition["replicas"]) for partition in entry["partitions"]), default=0),
        )
        for entry in described
    }


async def _configs(client: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    responses = await client.describe_configs(resources)
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }


def _finding(topic: Topic, size: _Size, config: dict[str, str], replication: int) -> Finding:
    if size.partitions == 0:
        return Finding(topic=topic, partitions=0)
    differences = [
        f"{name} is {config[name]}, expected {value}"
        for name, value in _config(topic, replication).items()
        if name in config and config[name] != value
    ]
    if size.replication < replication:
        differences.append(f"replication is {size.replication}, expected {replication}")
    return Finding(topic=topic, partitions=size.partitions, differences=tuple(differences))
