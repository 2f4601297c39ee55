"""Topics and recorders of a test's own."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import KafkaSettings
from tests.integration.sinks.recording import TraceTopics

MakeTopics = Callable[..., Awaitable[TraceTopics]]


@pytest.fixture
def make_topics(kafka: KafkaBroker, unique_name: Callable[[str], str], tmp_path: Path) -> MakeTopics:
    """Called with `partitions`, makes a trace topic and a topic for its dead letters."""

    async def make(partitions: int = 1) -> TraceTopics:
        topics = TraceTopics(
            settings=KafkaSettings(brokers=kafka.bootstrap),
            trace=unique_name("trace"),
            dead_letters=unique_name("dlq"),
            feedback=unique_name("feedback"),
            partitions=partitions,
        )
        await topics.create()
        return topics

    return make
