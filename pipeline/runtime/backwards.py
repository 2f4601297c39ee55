"""Reading logs from their ends back, so that a reading that is cut short has seen the newest records.

Kafka reads forwards only: spans are read in steps, the newest step first. Within a step records come in log order.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from pipeline.runtime.reading import Record

STEP: Final = 4_000
"""Offsets of a partition per step."""
AT_ONCE: Final = 500
"""Records that are handed on at once: a few milliseconds of work, and then a turn of the loop."""

STALLED_S: Final = 10.0

Span = tuple[int, int]
"""First offset, and the one behind the last."""


class Backwards:
    """Reads some spans, the newest records first.

    Args:
        consumer: without a group; what it was assigned before is given up.
        spans: by partition; what retention has deleted of them is skipped.
        step: how many offsets of a partition are read before the ones ahead of them.

    Attributes:
        left: the spans that are not read yet; a step that was not finished is left whole.
    """

    def __init__(self, consumer: AIOKafkaConsumer, spans: Mapping[TopicPartition, Span], *, step: int = STEP) -> None:
        self._consumer = consumer
        self._step = step
        self.left = {partition: span for partition, span in spans.items() if span[0] < span[1]}

    async def __aiter__(self) -> AsyncIterator[Sequence[Record]]:
        """Batches of one partition each.

        Raises:
            KafkaError: the broker does not bring them; nothing came for 10 s.
        """
        while self.left:
            steps = {partition: (max(first, end - self._step), end) for partition, (first, end) in self.left.items()}
            async for records in self._forwards(steps):
                yield records
                await asyncio.sleep(0)
            ahead = {partition: (first, steps[partition][0]) for partition, (first, _) in self.left.items()}
            self.left = {partition: span for partition, span in ahead.items() if span[0] < span[1]}

    async def _forwards(self, spans: Mapping[TopicPartition, Span]) -> AsyncIterator[Sequence[Record]]:
        consumer = self._consumer
        consumer.assign(list(spans))
        for partition, (first, _) in spans.items():
            consumer.seek(partition, first)
        unread = dict(spans)
        give_up_at_s = time.monotonic() + STALLED_S
        while unread:
            if time.monotonic() > give_up_at_s:
                raise KafkaTimeoutError(f"nothing came of {', '.join(map(str, unread))} in {STALLED_S:g} s")
            for partition, records in (await consumer.getmany(timeout_ms=200, max_records=AT_ONCE)).items():
                give_up_at_s = time.monotonic() + STALLED_S
                if partition in unread:
                    end = unread[partition][1]
                    yield records if records[-1].offset < end else [one for one in records if one.offset < end]
            for partition, (_, end) in list(unread.items()):
                if await consumer.position(partition) >= end:
                    del unread[partition]
                    consumer.pause(partition)
