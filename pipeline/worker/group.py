"""The worker's consumer group: commits that a former owner cannot make, and the metadata of the last one.

aiokafka's own `commit` retries with whatever generation it has by then, so that a commit begun before a rebalance could
be accepted after it; here a commit carries the generation for which it was decided, or is not sent. `committed` drops
the metadata. Both are why this module, and no other, touches the coordinator inside aiokafka's consumer.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

logger = logging.getLogger(__name__)

REQUEST_S = 10.0


class Group:
    """Offsets of one topic in the consumer's group, by partition."""

    def __init__(self, consumer: AIOKafkaConsumer, *, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    @property
    def generation(self) -> int:
        """Of the group as this member knows it; negative while it is no member."""
        return int(self._coordinator.generation)

    @property
    def member(self) -> str:
        """Id of this member. The group gives a new one to a member that it has put out; empty while it is none."""
        return str(self._coordinator.member_id)

    async def committed(self, partitions: Iterable[int]) -> dict[int, tuple[int, str]]:
        """Committed offset and metadata of each partition; where nothing was committed, its first offset and none.

        Raises:
            KafkaError: the broker cannot tell.
        """
        wanted = [TopicPartition(self._topic, partition) for partition in partitions]
        found = await self._coordinator.fetch_committed_offsets(wanted)
        missing = [tp for tp in wanted if tp not in found or found[tp].offset < 0]
        firsts = await self._consumer.beginning_offsets(missing) if missing else {}
        return {
            tp.partition: (firsts[tp], "") if tp in firsts else (found[tp].offset, found[tp].metadata or "")
            for tp in wanted
        }

    async def commit(self, offsets: Mapping[int, tuple[int, str]], *, generation: int) -> bool:
        """Commit offset and metadata by partition as a member of `generation`.

        Returns:
            Whether the broker accepted it. If not, the group has moved on, or the same commit may work later.
        """
        subscription = self._consumer._subscription.subscription
        if generation < 0 or self.generation != generation or subscription is None or subscription.assignment is None:
            return False
        values = {TopicPartition(self._topic, p): OffsetAndMetadata(*value) for p, value in offsets.items()}
        try:
            if self._coordinator.coordinator_id is None:
                async with asyncio.timeout(REQUEST_S):
                    await self._coordinator.ensure_coordinator_known()
                if self.generation != generation:
                    return False
            # Builds its request before it waits for anything: with the generation that was just compared.
            await self._coordinator._do_commit_offsets(subscription.assignment, values)
        except (KafkaError, TimeoutError) as error:
            logger.info("commit of %s in generation %s was refused: %r", dict(offsets), generation, error)
            return False
        return True

    @property
    def _coordinator(self) -> Any:
        return self._consumer._coordinator
