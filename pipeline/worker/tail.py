"""Reading reply partitions for jobs that copy a primary's answer or take their own over: as any consumer, without a
group, and only while there are such jobs. Who wants what is `pipeline.worker.watching`'s business.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.runtime.reading import CLOCKS_MS
from pipeline.worker.watching import Follower, Gap, Place, Watch
from topics.codec import decode_response
from topics.dispatches import Primary
from topics.errors import CodecError
from topics.responses import Response

logger = logging.getLogger(__name__)

POLL_MS: Final = 50
"""How long a new follower waits at most for the present poll to end."""
POLL_RECORDS: Final = 2000
"""Records taken in one go, about 2 us each: bounds how long they hold up engine outputs."""
RETRY_S: Final = 0.5
ONE_CLOCK_MS: Final = 5_000
"""Instead of `CLOCKS_MS` where one broker has all the logs: its clock may be set back a little. Who waits for a
take-over waits for what is read of that time: 2 us a record on a free core."""

Found = list[tuple[int, Response | Gap, int]]
"""Serial number of the follower, what it is told, and the record's broker time in milliseconds."""


class Tail:
    """Records of requests, for those who follow them.

    Args:
        make_consumer: a consumer without a group, not started.
        on_records: called on the event loop with the followers' records, each partition's in log order.
    """

    def __init__(self, make_consumer: Callable[[], AIOKafkaConsumer], on_records: Callable[[Found], None]) -> None:
        self._make_consumer = make_consumer
        self._on_records = on_records
        self._watch = Watch()
        self._wanted = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._sought: dict[Place, int] = {}

    def follow(self, serial: int, request: Primary) -> None:
        """Deliver the records of a request, from its beginning on."""
        self._watch.follow(serial, request)
        self._wanted.set()

    def unfollow(self, serial: int) -> None:
        """Deliver nothing more for a serial number."""
        self._watch.unfollow(serial)

    async def run(self) -> None:
        """Read while somebody follows, until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                try:
                    await self._read()
                except KafkaError as error:
                    logger.warning("answers cannot be read: %r; trying again", error)
                    await self._close()
                    await asyncio.sleep(RETRY_S)
        finally:
            await self._close()

    async def _read(self) -> None:
        if not len(self._watch):
            self._wanted.clear()
            await self._rest()
            return
        consumer = await self._open()
        await self._locate(consumer)
        self._watch.settle()
        self._seek(consumer)
        if not self._sought:
            return
        batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
        if consumer._fetcher.error_future.done():
            raise KafkaError("the client stopped fetching")
        found: Found = []
        for partition, records in batches.items():
            place = Place(partition.topic, partition.partition)
            for record in records:
                if record.offset > self._sought[place]:
                    # Retention was faster; there are no other holes in a log of idempotent producers.
                    found += [(follower.serial, Gap.CUT, 0) for follower in self._watch.skipped(place, record.offset)]
                self._sought[place] = record.offset + 1
                followers = self._watch.read(place, record.offset, record.key)
                if followers:
                    found += _wanted(followers, record.value, record.timestamp)
        if found:
            self._on_records(found)

    async def _locate(self, consumer: AIOKafkaConsumer) -> None:
        """Find where those who have just come begin."""
        fresh = self._watch.fresh()
        if not fresh:
            return
        clocks_ms = CLOCKS_MS if len(consumer._client.cluster.brokers()) > 1 else ONE_CLOCK_MS
        by_place: dict[Place, list[Follower]] = {}
        for follower in fresh:
            by_place.setdefault(follower.place, []).append(follower)
        located: dict[int, int] = {}
        found: Found = []
        for place, followers in by_place.items():
            # The same position for all: those who need less are fed less, and one look-up is enough.
            since_ms = {f.serial: max(f.request.since_ms - clocks_ms, 0) for f in followers}
            start = await _start_of(consumer, TopicPartition(*place), min(since_ms.values()))
            located |= {follower.serial: start.offset for follower in followers}
            found += [
                (f.serial, Gap.CUT, 0)
                for f in followers
                if start.cut_ms is not None and since_ms[f.serial] <= start.cut_ms
            ]
        self._watch.locate(located)
        if found:
            self._on_records(found)

    def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Assign the partitions that are wanted, and go to where they are."""
        positions = self._watch.positions
        if positions.keys() != self._sought.keys():
            consumer.assign([TopicPartition(*place) for place in positions])
            self._sought = {}
        for place, offset in positions.items():
            if self._sought.get(place) != offset:
                consumer.seek(TopicPartition(*place), offset)
                self._sought[place] = offset

    async def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = self._make_consumer()
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer

    async def _rest(self) -> None:
        """Nobody follows: fetch nothing."""
        if self._consumer is not None and self._sought:
            self._consumer.unsubscribe()
            self._sought = {}

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._sought = {}
        if consumer is not None:
            try:
                await consumer.stop()
            except KafkaError as error:
                logger.debug("left a client that had failed: %r", error)
                await consumer._client.close()


class _Start(NamedTuple):
    """Where reading begins, and the time of the oldest record if those before it have been deleted."""

    offset: int
    cut_ms: float | None


async def _start_of(consumer: AIOKafkaConsumer, partition: TopicPartition, since_ms: int) -> _Start:
    found = (await consumer.offsets_for_times({partition: max(since_ms, 0)}))[partition]
    first = (await consumer.beginning_offsets([partition]))[partition]
    if found is not None:
        return _Start(found.offset, found.timestamp if first > 0 and found.offset <= first else None)
    end = (await consumer.end_offsets([partition]))[partition]
    return _Start(end, math.inf if first > 0 and first == end else None)


def _wanted(followers: list[Follower], value: bytes | None, at_ms: int) -> Found:
    """The record, for those whose request it is of. Ids are reused; origins are not."""
    try:
        record = decode_response(value or b"")
    except CodecError as error:
        logger.warning("an answer's record cannot be read: %s", error.message)
        return []
    return [(follower.serial, record, at_ms) for follower in followers if follower.request.origin == record.origin]
