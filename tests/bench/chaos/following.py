"""Following a log from its beginning on, over broker restarts."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError


async def following(
    brokers: str, partitions: Sequence[TopicPartition], *, max_records: int | None = None
) -> AsyncGenerator[Mapping[TopicPartition, Sequence[Any]]]:
    """Records of some partitions as they come, by a plain consumer, until cancelled."""
    log = AIOKafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False)
    await log.start()
    try:
        log.assign(partitions)
        await log.seek_to_beginning(*partitions)
        while True:
            batches: Mapping[TopicPartition, Sequence[Any]] = {}
            with contextlib.suppress(KafkaError):  # the broker restarts; the consumer goes on by itself
                batches = await log.getmany(timeout_ms=200, max_records=max_records)
            if batches:
                yield batches
            else:
                await asyncio.sleep(0.01)
    finally:
        await log.stop()
