"""Reading a topic that everyone reads whole: heartbeats, cancellations, control.

A consumer group would split such a topic between its members, so these readers have none. A record that its callback
cannot read is counted and skipped: a broadcast has no owner who could put it among the dead letters.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics.errors import CodecError

logger = logging.getLogger(__name__)

Start = Literal["latest", "recent", "earliest"]
RECENT_MS: Final = 10_000
"""How far back `recent` begins: the newest heartbeat of every living worker is younger than that."""


class BroadcastReader:
    """Feeds every record of some topics to a callback, in the order of each partition.

    Args:
        settings: the broker.
        topics: names; all their partitions are read.
        on_record: called on the event loop with each record; may raise `CodecError` for one that it cannot read.
        client_id: shows in the broker's logs.
        start: where to begin: only new records, those of the last 10 s, or all.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: tuple[str, ...],
        on_record: Callable[[ConsumerRecord[Any, Any]], None],
        *,
        client_id: str,
        start: Start = "latest",
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._on_record = on_record
        self._client_id = client_id
        self._start = start
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self.skipped = 0
        """Records that could not be read."""

    async def start(self) -> None:
        """Connect, take the starting position and read on in the background.

        Raises:
            KafkaError: the broker cannot be reached, or a topic does not exist.
        """
        self._consumer = kafka.consumer(self._settings, client_id=self._client_id)
        await self._consumer.start()
        partitions = await self._partitions(self._consumer)
        self._consumer.assign(partitions)
        await self._seek(self._consumer, partitions)
        self._task = asyncio.create_task(self._read(self._consumer), name=f"broadcasts {self._client_id}")

    async def stop(self) -> None:
        """Stop reading and leave."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._consumer is not None:
            await self._consumer.stop()

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        cluster = await consumer._client.fetch_all_metadata()
        found = []
        for topic in self._topics:
            partitions = cluster.partitions_for_topic(topic)
            if not partitions:
                raise KafkaError(f"topic {topic} does not exist; make it with `millrace topics create`")
            found += [TopicPartition(topic, partition) for partition in sorted(partitions)]
        return found

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        if self._start == "earliest":
            await consumer.seek_to_beginning(*partitions)
            return
        ends = await consumer.end_offsets(partitions)
        since: dict[TopicPartition, int] = {}
        if self._start == "recent":
            at_ms = int(time.time() * 1000) - RECENT_MS
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))
            since = {partition: place.offset for partition, place in found.items() if place is not None}
        for partition in partitions:
            consumer.seek(partition, since.get(partition, ends[partition]))

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=1000, max_records=1000)
            for records in batches.values():
                for record in records:
                    self._feed(record)

    def _feed(self, record: ConsumerRecord[Any, Any]) -> None:
        try:
            self._on_record(record)
        except CodecError as error:
            self.skipped += 1
            logger.warning("skipped %s/%s/%s: %s", record.topic, record.partition, record.offset, error)
