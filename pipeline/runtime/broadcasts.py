"""Reading a topic that everyone reads whole: heartbeats, cancellations, control.

A consumer group would split such a topic between its members, so these readers have none. A record that its callback
cannot read is counted and skipped: a broadcast has no owner who could put it among the dead letters.

A reader that has started goes on until it is stopped: through outages, through whatever the client raises, through
faults of its callback. What it feeds is neither lost nor doubled by that; it goes on at the next offset.
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
from pipeline.runtime.logs import Seldom
from pipeline.runtime.reading import offsets_since
from pipeline.settings import KafkaSettings
from topics.errors import CodecError

logger = logging.getLogger(__name__)

Start = Literal["latest", "recent", "earliest"]
RECENT_MS: Final = 10_000
"""How far back `recent` begins: the newest heartbeat of every living worker is younger than that."""
TOPICS_WITHIN_S: Final = 5.0
"""A topic that was made a moment ago is not yet known to every broker."""
RETRY_S: Final = 0.5
FETCH_WAIT_MS: Final = 250
"""How long the broker holds a fetch while there is nothing new: it answers at once when something comes, and nothing is
ever paused here that would have to wait for it."""


class BroadcastReader:
    """Feeds every record of some topics to a callback, in the order of each partition.

    Args:
        settings: the broker.
        topics: names; all partitions that they have at the start are read.
        on_record: called on the event loop with each record; may raise `CodecError` for one that it cannot read.
        client_id: shows in the broker's logs.
        start: where to begin: only new records, those of the last 10 s, or all.
        fetch_wait_ms: how long the broker holds a fetch while there is nothing new; longer costs less.
        topics_within_s: how long `start` waits for topics that do not exist yet, in seconds.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: tuple[str, ...],
        on_record: Callable[[ConsumerRecord[Any, Any]], None],
        *,
        client_id: str,
        start: Start = "latest",
        fetch_wait_ms: int = FETCH_WAIT_MS,
        topics_within_s: float = TOPICS_WITHIN_S,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._on_record = on_record
        self._client_id = client_id
        self._start = start
        self._fetch_wait_ms = fetch_wait_ms
        self._topics_within_s = topics_within_s
        self._next: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._skips = Seldom()
        self._leaves = Seldom()
        self._is_failing = False
        self.skipped = 0
        """Records that could not be read."""

    async def start(self) -> None:
        """Connect, take the starting position and read on in the background.

        Raises:
            KafkaError: the broker cannot be reached, or a topic does not exist.
        """
        self._consumer = await self._open()
        self._task = asyncio.create_task(self._run(), name=f"broadcasts {self._client_id}")

    async def stop(self) -> None:
        """Stop reading and leave. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._close()

    async def _run(self) -> None:
        while True:
            try:
                self._consumer = self._consumer or await self._open()
                await self._read(self._consumer)
            except Exception as error:  # whatever it is, a process without heartbeats and cancellations is worse
                self._complain(error)
                await self._close()
                await asyncio.sleep(RETRY_S)

    async def _open(self) -> AIOKafkaConsumer:
        consumer = kafka.consumer(self._settings, client_id=self._client_id, fetch_max_wait_ms=self._fetch_wait_ms)
        try:
            await consumer.start()
            partitions = await self._partitions(consumer)
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
        except BaseException:
            await self._leave(consumer)
            raise
        return consumer

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await self._leave(consumer)

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await consumer.stop()
        except (Exception, asyncio.CancelledError) as error:
            # A fetch task that has failed or was cancelled raises here again, before the connections are closed.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if self._leaves.due(time.monotonic()) is not None:
                logger.warning("%s left a client that had failed: %r", self._client_id, error)
            await consumer._client.close()

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        give_up_at_s = time.monotonic() + self._topics_within_s
        while True:
            cluster = await consumer._client.fetch_all_metadata()
            found = {topic: cluster.partitions_for_topic(topic) for topic in self._topics}
            missing = [topic for topic, partitions in found.items() if not partitions]
            if not missing:
                return [TopicPartition(topic, p) for topic, partitions in found.items() for p in sorted(partitions)]
            if time.monotonic() >= give_up_at_s:
                raise KafkaError(f"topic {missing[0]} does not exist; make it with `millrace topics create`")
            await asyncio.sleep(0.1)

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """To where the reader was, or at first to where it is to begin."""
        fresh = [partition for partition in partitions if partition not in self._next]
        if fresh:
            self._next |= await self._beginnings(consumer, fresh)
        for partition in partitions:
            consumer.seek(partition, self._next[partition])

    async def _beginnings(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        if self._start == "earliest":
            firsts: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
            return firsts
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        if self._start == "latest":
            return ends
        at_ms = int(time.time() * 1000) - RECENT_MS
        return await offsets_since(consumer, dict.fromkeys(partitions, at_ms), ends)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=1000, max_records=1000)
            # The client fetches in a task of its own, and `getmany` waits for ever when that task has died.
            if consumer._fetcher.error_future.done():
                raise KafkaError("the client stopped fetching")
            for partition, records in batches.items():
                for record in records:
                    self._next[partition] = record.offset + 1
                    self._feed(record)
            if batches and self._is_failing:
                self._is_failing = False
                logger.info("%s reads again", self._client_id)

    def _feed(self, record: ConsumerRecord[Any, Any]) -> None:
        try:
            self._on_record(record)
        except CodecError as error:
            self._skip(record, error)
        except Exception as error:  # one record must not end the reading of all others
            self._skip(record, error, is_fault=True)

    def _skip(self, record: ConsumerRecord[Any, Any], error: Exception, *, is_fault: bool = False) -> None:
        self.skipped += 1
        if self._skips.due(time.monotonic()) is None:
            return
        logger.log(
            logging.ERROR if is_fault else logging.WARNING,
            "skipped %s/%s/%s (%s so far): %s",
            record.topic,
            record.partition,
            record.offset,
            self.skipped,
            error,
            exc_info=is_fault,
        )

    def _complain(self, error: Exception) -> None:
        if not self._is_failing:
            topics = ", ".join(self._topics)
            fault = None if isinstance(error, KafkaError) else error
            logger.warning("%s cannot read %s: %r; trying again", self._client_id, topics, error, exc_info=fault)
        self._is_failing = True
