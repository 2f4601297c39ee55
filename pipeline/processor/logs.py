"""Where the logs of a cluster begin and end and how far a group has come in them, and reads them from their ends back.

It knows partitions and offsets, not what the records mean.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.runtime.backwards import STEP, Backwards, Span
from pipeline.runtime.reading import Record, offsets_since

logger = logging.getLogger(__name__)


class Logs:
    """As one consumer sees them.

    Args:
        consumer: started, without a group; its assignment is changed.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._cluster: Any = None
        self.wanted: list[str] = []
        """Topics that may be read."""

    async def look(self) -> None:
        """Learn which topics there are; comes first."""
        self._cluster = await self._consumer._client.fetch_all_metadata()

    def topics(self) -> list[str]:
        """All of them."""
        return list(self._cluster.topics())

    def places(self, *topics: str) -> list[TopicPartition]:
        """The partitions of those topics that exist."""
        return [TopicPartition(t, p) for t in topics for p in sorted(self._cluster.partitions_for_topic(t) or ())]

    async def find_leaders(self) -> None:
        """Let the client know who leads all partitions of the wanted topics, at once.

        It forgets those of topics that it is not assigned, and finds out by a request that fails, and a rest of 0.1 s.
        """
        await self._consumer._client.set_topics(self.wanted)

    async def ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The offsets after the last records."""
        return dict(await self._consumer.end_offsets(places)) if places else {}

    async def since(
        self, ends: Mapping[TopicPartition, int], at_ms: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """The first offsets that are not older than a time, in ms since the epoch; the ends where there are none."""
        return await offsets_since(self._consumer, {place: at_ms[place] for place in ends}, ends)

    async def behind(
        self, admin: AIOKafkaAdminClient, group: str, places: list[TopicPartition]
    ) -> dict[TopicPartition, Span]:
        """What a group has not committed of some partitions."""
        if not places:
            return {}
        firsts, ends, committed = await asyncio.gather(
            self._consumer.beginning_offsets(places),
            self.ends(places),
            admin.list_consumer_group_offsets(group, partitions=places),
        )
        found = {}
        for place in places:
            offset = committed[place].offset if place in committed else -1
            first = max(offset, firsts[place])
            if 0 <= offset < first:
                logger.error("%s/%s: offsets %s to %s were removed before they were handled", *place, offset, first - 1)
            found[place] = (min(first, ends[place]), ends[place])
        return found

    async def read(
        self,
        spans: Mapping[TopicPartition, Span],
        tell: Callable[[Record], None],
        *,
        within_s: float | None = None,
        step: int = STEP,
        enough: Callable[[], bool] = lambda: False,
    ) -> dict[TopicPartition, Span]:
        """Read from the ends back, `step` records of a partition at a time, until time is up or it is enough.

        Returns what was not read.
        """
        give_up_at_s = float("inf") if within_s is None else time.monotonic() + within_s
        if any(first < end for first, end in spans.values()):
            await self.find_leaders()
        reading = Backwards(self._consumer, spans, step=step)
        async for records in reading:
            for record in records:
                tell(record)
            if time.monotonic() > give_up_at_s or enough():
                break
        return reading.left
