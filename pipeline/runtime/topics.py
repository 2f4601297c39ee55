"""Making the topics of the catalogue, and verifying that a cluster has them as they should be."""

from dataclasses import dataclass

from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics.catalogue import Topic
from topics.errors import TransportError


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
        counts = await _partition_counts(client, wanted)
        configs = await _configs(client, wanted)
    finally:
        await client.close()
    return [_finding(topic, counts.get(topic.name, 0), configs.get(topic.name, {})) for topic in catalogue]


async def create(settings: KafkaSettings, catalogue: tuple[Topic, ...]) -> list[Finding]:
    """Make what is missing: topics, and partitions of topics that have too few. Existing settings are left alone.

    Returns:
        What was found before, so that the caller can say what was made.

    Raises:
        TransportError: the broker refused; the message has its reason.
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
    finally:
        await client.close()
    return found


def _new_topic(topic: Topic, settings: KafkaSettings) -> NewTopic:
    return NewTopic(topic.name, topic.partitions, settings.replication, topic_configs=topic.config)


def _raise_for(response: object) -> None:
    for topic, code, *message in getattr(response, "topic_errors", ()) or ():
        error = for_code(code)
        if code and error.__name__ != "TopicAlreadyExistsError":
            reason = next((m for m in message if m), error.__name__)
            raise TransportError(f"topic {topic} cannot be made: {reason}")


async def _partition_counts(client: object, topics: list[Topic]) -> dict[str, int]:
    if not topics:
        return {}
    described = await client.describe_topics([topic.name for topic in topics])  # type: ignore[attr-defined]
    return {entry["topic"]: len(entry["partitions"]) for entry in described}


async def _configs(client: object, topics: list[Topic]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    responses = await client.describe_configs(resources)  # type: ignore[attr-defined]
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }


def _finding(topic: Topic, partitions: int, config: dict[str, str]) -> Finding:
    differences = tuple(
        f"{name} is {config[name]}, expected {value}"
        for name, value in topic.config.items()
        if partitions and name in config and config[name] != value
    )
    return Finding(topic=topic, partitions=partitions, differences=differences)
