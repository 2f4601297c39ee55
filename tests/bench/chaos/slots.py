"""Follows the worker slots: who marks itself their owner, and how often requests are dispatched."""

from collections import Counter
from contextlib import aclosing

from aiokafka import TopicPartition

from tests.bench.chaos.following import following
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
        async with aclosing(following(self._brokers, self._partitions)) as log:
            async for batches in log:
                for place, records in batches.items():
                    for record in records:
                        self.feed(place.partition, record.offset, record.value)

    def feed(self, slot: int, offset: int, value: bytes) -> None:
        """The next record of a slot."""
        record = decode_slot_record(value)
        if isinstance(record, Owner):
            self._ledger.on_owner(slot, offset, record.worker)
        elif isinstance(record, Dispatch):
            self.dispatches[record.origin, record.hop] += 1
            self.senders[record.sender] = self.senders.get(record.sender, 0) + 1
