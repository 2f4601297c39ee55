"""The worker's consumer group: commits that a former owner cannot make, and the metadata of the last one.

aiokafka's own `commit` retries with whatever generation it has by then, so that a commit begun before a rebalance could
be accepted after it; here a commit carries the generation for which it was decided, or is not sent. It also takes every
refusal for news of the group and joins again. But a broker answers a connection's requests in order: a commit that
follows a join is judged after it, and its generation is over. Who joins again for that, and commits again meanwhile,
never comes to rest, and nor does the group. `committed` drops the metadata. All of this is why this module, and no
other, touches the coordinator inside aiokafka's consumer.

Source of what a refusal means: Kafka, ConsumerCoordinator.OffsetCommitResponseHandler.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IllegalGenerationError,
    KafkaError,
    NoError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
    RequestTimedOutError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest

logger = logging.getLogger(__name__)

REQUEST_S = 10.0
_NO_COORDINATOR = {GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, RequestTimedOutError}
_NO_MEMBER = {UnknownMemberIdError, IllegalGenerationError}


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
        try:
            if self._coordinator.coordinator_id is None:
                async with asyncio.timeout(REQUEST_S):
                    await self._coordinator.ensure_coordinator_known()
                if self.generation != generation:
                    return False
            refusals = await self._ask(offsets, generation)
        except (KafkaError, TimeoutError) as error:
            refusals = {type(error)}
        if refusals:
            names = ", ".join(sorted(refusal.__name__ for refusal in refusals))
            logger.info("commit of %s in generation %s was refused: %s", dict(offsets), generation, names)
        return not refusals

    async def _ask(self, offsets: Mapping[int, tuple[int, str]], generation: int) -> set[type[Exception]]:
        """Why the broker refuses a commit; empty where it accepts it."""
        member = self.member
        places = [(partition, offset, metadata) for partition, (offset, metadata) in offsets.items()]
        keep = OffsetCommitRequest.DEFAULT_RETENTION_TIME
        response = await self._coordinator._send_req(
            OffsetCommitRequest(self._coordinator.group_id, generation, member, keep, [(self._topic, places)])
        )
        refusals = {for_code(code) for _, partitions in response.topics for _, code in partitions} - {NoError}
        if refusals & _NO_COORDINATOR:
            self._coordinator.coordinator_dead()
        if (self.generation, self.member) == (generation, member):
            self._heed(refusals)
        return refusals

    def _heed(self, refusals: set[type[Exception]]) -> None:
        """The group is not what this member takes it for: join again."""
        if refusals & _NO_MEMBER:
            self._coordinator.reset_generation()
        elif RebalanceInProgressError in refusals:
            self._coordinator.request_rejoin()

    @property
    def _coordinator(self) -> Any:
        return self._consumer._coordinator
