"""Follows the worker slots: who marks itself their owner, and how often requests are dispatched."""

import asyncio
import contextlib
from collections import Counter

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tests.bench.chaos.ledger import Ledger
from topics.codec import decode_slot_record
from topics.dispatches import Dispatch, Owner


class SlotReader:
    """Reads a dispatch topic from its beginning.

    Attributes:
        dispatches: of each request, by origin and hop; more than one is a double dispatch.
        senders: processors' lives that have dispatched, in their order.
    """

    def __init__(self, brokers: str, topic: str, slots: int, ledger: Ledger) -> None:
        self._brokers = brokers
        self._partitions = [TopicPartition(topic, slot) for slot in range(slots)]
        self._ledger = ledger
        self.dispatches: Counter[tuple[str, int]] = Counter()
        self.senders: dict[str, int] = {}

    @property
    def doubled(self) -> frozenset[str]:
        """Origins that were dispatched more than once at one hop."""
        return frozenset(origin for (origin, _), count in self.dispatches.items() if count > 1)

    async def run(self) -> None:
        """Read until cancelled."""
        log = AIOKafkaConsumer(bootstrap_servers=self._brokers, enable_auto_commit=False)
        await log.start()
        try:
            log.assign(self._partitions)
            await log.seek_to_beginning(*self._partitions)
            while True:
                with contextlib.suppress(KafkaError):  # the broker restarts; the consumer goes on by itself
                    batches = await log.getmany(timeout_ms=200)
                    for place, records in batches.items():
                        for record in records:
                            self.feed(place.partition, record.offset, record.value)
                    if not batches:
                        await asyncio.sleep(0.01)
        finally:
            await log.stop()

    def feed(self, slot: int, offset: int, value: bytes) -> None:
        """The next record of a slot."""
        record = decode_slot_record(value)
        if isinstance(record, Owner):
            self._ledger.on_owner(slot, offset, record.worker)
        elif isinstance(record, Dispatch):
            self.dispatches[record.origin, record.hop] += 1
            self.senders[record.sender] = self.senders.get(record.sender, 0) + 1
