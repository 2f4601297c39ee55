"""A broker with the topics of the account, for benchmarks of the recorder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import KafkaSettings
from tests.integration.sinks.recording import TraceTopics


@asynccontextmanager
async def trace_topics(folder: Path, *, partitions: int) -> AsyncIterator[TraceTopics]:
    """Topics on a broker of their own, which ends with the block.

    Args:
        folder: of the broker.
        partitions: of the trace topic.
    """
    broker = KafkaBroker(folder=folder / "kafka", log=folder / "kafka.log")
    await asyncio.to_thread(broker.start)
    try:
        topics = TraceTopics(
            settings=KafkaSettings(brokers=broker.bootstrap),
            trace="trace",
            dead_letters="dlq",
            feedback="feedback",
            partitions=partitions,
        )
        await topics.create()
        yield topics
    finally:
        await asyncio.to_thread(broker.close)
