"""Reading slots: which are owned, from where, and every record of them to the core.

It never stops polling, and buffers nothing itself: what cannot be begun waits in the core. Records that were fetched
before a change of assignment are dropped, and reading begins again at the first unfinished offset of each slot.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.worker.group import Group
from pipeline.worker.slot import SlotOwner, SlotState, Taken
from topics.codec import decode_slot_record, encode
from topics.dispatches import Dispatch, Owner, SlotRecord
from topics.errors import CodecError, InvalidReply, PipelineError, TransportError

logger = logging.getLogger(__name__)

POLL_MS: Final = 500
POLL_RECORDS: Final = 200
"""Records taken to the core in one go: bounds how long they hold up engine outputs."""
RETRY_S: Final = 0.2
REPLY_LOOKUP_S: Final = 5.0

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotEvents:
    """What the intake tells; each is called on the event loop and returns at once."""

    on_taken: Callable[[SlotOwner, Sequence[Taken]], None]
    on_unreadable: Callable[[SlotOwner, Record, PipelineError], None]
    on_owned: Callable[[SlotOwner], None]
    on_lost: Callable[[SlotOwner, str], None]
    on_fenced: Callable[[], None]
    """The group has put this member out and let it in as a new one; what it owned may be somebody else's."""
    on_skipped: Callable[[SlotOwner, int, int], None]
    """Records of a slot from the first to the last of two offsets are not in the log any more."""
    on_fatal: Callable[[BaseException], None]


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The slots that the group assigns to this worker.

    Args:
        slots: filled and emptied here, by partition.
        markers: started producer for owner markers.
        answers: started producer, asked only whether a reply's topic exists.
        owner: the marker of this worker.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        group: Group,
        slots: dict[int, SlotOwner],
        *,
        topic: str,
        markers: AIOKafkaProducer,
        answers: AIOKafkaProducer,
        owner: Owner,
        events: SlotEvents,
    ) -> None:
        self._consumer = consumer
        self._group = group
        self._slots = slots
        self._topic = topic
        self._markers = markers
        self._answers = answers
        self._owner = owner
        self._events = events
        self._settled = asyncio.Event()
        self._epoch = 0
        self._member = ""
        self._has_owned = False
        """Whether this member, by its present id, has owned a slot."""
        self._next: dict[int, int] = {}
        self._claims: set[asyncio.Task[None]] = set()
        self._missing_replies: set[str] = set()

    async def run(self) -> None:
        """Join the group and read until cancelled.

        Raises:
            TransportError: the client has stopped fetching; only a new process reads on.
        """
        self._consumer.subscribe([self._topic], listener=self)
        while True:
            batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            # The client fetches in a task of its own. When that has died, `getmany` returns nothing for ever, and the
            # group goes on to see a living member.
            if self._consumer._fetcher.error_future.done():
                raise TransportError(f"the client stopped fetching {self._topic}; start the worker again")
            epoch = self._epoch
            if batches:
                await self._read(batches, epoch)

    # The group

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """A rebalance begins: what runs goes on, nothing can be committed."""
        self._epoch += 1
        self._settled.clear()
        for slot in self._slots.values():
            slot.suspend()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """A rebalance has ended: keep what was owned without a gap, claim what is new, drop the rest."""
        try:
            await self._assign({partition.partition for partition in assigned})
        except Exception as error:
            # aiokafka would log it and go on, with slots that nobody owns.
            self._events.on_fatal(error)

    async def _assign(self, partitions: set[int]) -> None:
        generation = self._group.generation
        was_put_out = self._is_new_member() and self._has_owned
        self._has_owned = self._has_owned and not was_put_out
        kept = {p for p in partitions & self._slots.keys() if self._slots[p].reassigned(generation)}
        for partition in set(self._slots) - kept:
            self._events.on_lost(self._slots.pop(partition), "rebalance")
        await self._open(partitions - kept, generation)
        for partition in kept:
            self._rewind(partition)
        self._epoch += 1
        self._settled.set()
        if was_put_out:
            self._events.on_fenced()

    def _is_new_member(self) -> bool:
        """Whether the group knows this member by another id than the last time."""
        known, self._member = self._member, self._group.member
        return self._member != known

    async def _open(self, partitions: set[int], generation: int) -> None:
        """Begin to claim slots: from their last commit on."""
        if not partitions:
            return
        committed = await self._group.committed(partitions)
        fresh = []
        for partition, (base, metadata) in committed.items():
            slot = SlotOwner(
                partition=partition, run=self._owner.run, generation=generation, base=base, metadata=metadata
            )
            self._slots[partition] = slot
            self._rewind(partition)
            fresh.append((slot, (base, metadata)))
        task = asyncio.create_task(self._claim(fresh, generation), name="claim slots")
        self._claims.add(task)
        task.add_done_callback(self._claimed)

    def _rewind(self, partition: int) -> None:
        base = self._slots[partition].tracker.base
        self._next[partition] = base
        self._consumer.seek(TopicPartition(self._topic, partition), base)

    # Claiming

    async def _claim(self, fresh: list[tuple[SlotOwner, tuple[int, str]]], generation: int) -> None:
        """Write the markers, then prove that the slots are still this member's: a commit that changes nothing."""
        terms = await asyncio.gather(*(self._mark(slot.partition) for slot, _ in fresh))
        unchanged = {slot.partition: commit for slot, commit in fresh}
        while not await self._group.commit(unchanged, generation=generation):
            if self._group.generation != generation or all(slot.state is SlotState.LOST for slot, _ in fresh):
                return
            await asyncio.sleep(RETRY_S)
        for (slot, _), term in zip(fresh, terms, strict=True):
            early = slot.owned(term)
            if slot.is_owned:
                self._has_owned = True
                self._events.on_owned(slot)
                self._events.on_taken(slot, early)

    async def _mark(self, partition: int) -> int:
        """Write the owner marker into a slot: its offset."""
        sent = await self._markers.send_and_wait(
            self._topic, encode(self._owner), key=self._owner.worker.encode(), partition=partition
        )
        return int(sent.offset)

    def _claimed(self, task: asyncio.Task[None]) -> None:
        self._claims.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._events.on_fatal(error)

    # Reading

    async def _read(self, batches: dict[TopicPartition, list[Record]], epoch: int) -> None:
        await self._settled.wait()
        decoded = {tp.partition: [_decoded(record) for record in records] for tp, records in batches.items()}
        await self._look_up_replies(content for records in decoded.values() for _, content in records)
        if epoch != self._epoch:
            return
        for partition, records in decoded.items():
            slot = self._slots.get(partition)
            if slot is not None:
                await self._feed(slot, records)

    async def _feed(self, slot: SlotOwner, records: list[tuple[Record, SlotRecord | CodecError]]) -> None:
        was_lost = slot.state is SlotState.LOST
        taken = []
        for record, content in records:
            self._count_on(slot, record.offset)
            error = self._fault(content)
            if error is not None:
                if slot.on_unreadable(record.offset):
                    self._events.on_unreadable(slot, record, error)
            elif not isinstance(content, CodecError):
                one = slot.on_record(content, offset=record.offset, at_ms=record.timestamp, headers=record.headers)
                if one is not None:
                    taken.append(one)
        if slot.is_owned and taken:
            self._events.on_taken(slot, taken)
        if slot.state is SlotState.LOST and not was_lost:
            await self._reopen(slot)

    def _count_on(self, slot: SlotOwner, offset: int) -> None:
        """Notice offsets that are missing: a position before the log's beginning is moved there without a word."""
        expected = self._next[slot.partition]
        if offset > expected:
            self._events.on_skipped(slot, expected, offset - 1)
        self._next[slot.partition] = offset + 1

    async def _reopen(self, slot: SlotOwner) -> None:
        """A foreign marker came: stop at once. If the group still says that the slot is ours, the marker was that of a
        former owner who could not prove anything, and a new claim decides.
        """
        self._events.on_lost(slot, "foreign marker")
        if self._settled.is_set() and self._slots.get(slot.partition) is slot:
            await self._open({slot.partition}, slot.generation)

    def _fault(self, content: SlotRecord | CodecError) -> PipelineError | None:
        """Why a record goes to the dead letters, if it does."""
        if isinstance(content, CodecError):
            return content
        if isinstance(content, Dispatch) and content.reply.topic in self._missing_replies:
            return InvalidReply(f"reply topic {content.reply.topic} does not exist; create it or name another")
        return None

    async def _look_up_replies(self, contents: Iterable[SlotRecord | CodecError]) -> None:
        """Ask for topics that the producer does not know: a send to a missing one would hold up all others."""
        topics = {content.reply.topic for content in contents if isinstance(content, Dispatch)}
        known = self._answers.client.cluster
        for topic in topics:
            if known.partitions_for_topic(topic) is None:
                self._missing_replies.add(topic)
                try:
                    async with asyncio.timeout(REPLY_LOOKUP_S):
                        await self._answers.partitions_for(topic)
                except (KafkaError, TimeoutError):
                    logger.warning("reply topic %s does not exist", topic)
                    continue
            self._missing_replies.discard(topic)


def _decoded(record: Record) -> tuple[Record, SlotRecord | CodecError]:
    try:
        return record, decode_slot_record(record.value or b"")
    except CodecError as error:
        return record, error
