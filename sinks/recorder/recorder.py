"""The loop from a topic to the tables: read, collect, insert, note the position. Nothing is decided here twice.

A Kafka record is done when its rows are in its table or it is among the dead letters; only then is the position moved.
While the store is away nothing is read, so what waits is bounded, and Kafka keeps the rest.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from sinks.clickhouse.store import InsertRefused, Store
from sinks.recorder.account import Account
from sinks.recorder.blocks import Block, Blocks
from sinks.recorder.columns import rows_of
from sinks.recorder.deadletters import DeadLetters
from sinks.recorder.logs import Log
from sinks.recorder.marks import start_of
from sinks.recorder.patience import Patience, Stopped
from topics.errors import CodecError, TransportError

logger = logging.getLogger(__name__)

POLL_S: Final = 0.2
"""Longest wait for records: so soon is a stop noticed."""
LOOK_AGAIN_S: Final = 30.0
"""How often partitions that were added to the topic are looked for."""


class Recorder(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Records one topic in one database.

    Args:
        store: where the rows go; its schema is there.
        database: of the tables.
        consumer: started, without subscription. With a group, several recorders share the partitions of a remote
            store; without one this recorder takes all of them.
        dead_letters: takes what cannot be recorded.
        log: the topic, and how its records become rows.
        stop: when set, `run` ends after what was read is recorded.
    """

    def __init__(
        self,
        *,
        store: Store,
        database: str,
        consumer: AIOKafkaConsumer,
        dead_letters: DeadLetters,
        log: Log,
        stop: asyncio.Event,
        shared: bool = False,
    ) -> None:
        self._account = Account(store, database)
        self._consumer = consumer
        self._dead_letters = dead_letters
        self._log = log
        self._stop = stop
        self._shared = shared
        self._patience = Patience(stop)
        self._blocks = Blocks()
        self._next: dict[int, int] = {}
        self._wanted: frozenset[int] = frozenset()
        self._has_changed = False
        self._inserting = asyncio.Lock()
        self._look_at_s = 0.0
        self.rows = 0
        """Rows inserted since the start."""

    @property
    def lag(self) -> dict[int, int]:
        """By partition, how many messages are not recorded yet, as far as the broker has told.

        Nothing is fetched while the store is away; `measure_lag` asks the broker.
        """
        highs = {kp: self._consumer.highwater(self._log.at(kp)) for kp in self._next}
        return {kp: max((high or 0) - self._next[kp], 0) for kp, high in highs.items()}

    async def measure_lag(self) -> dict[int, int]:
        """As `lag`, with the ends of the partitions asked of the broker.

        Raises:
            KafkaError: the broker did not tell.
        """
        ends = await self._consumer.end_offsets([self._log.at(kp) for kp in self._next])
        known = {self._log.kp(at.partition): end for at, end in ends.items()}
        return {kp: max(known[kp] - ko, 0) for kp, ko in self._next.items() if kp in known}

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Record until told to stop. `on_ready` is called once, when the first partitions are taken.

        Raises:
            SettingsError: the tables belong to another log.
            StatementRefused: the tables cannot be read.
            TransportError: the topic does not exist.
        """
        if self._shared:
            self._consumer.subscribe([self._log.topic], listener=self)
        else:
            await self._look_for_partitions()
            await self._take()
        on_ready()
        try:
            while not self._stop.is_set():
                await self._turn()
            await self._flush()
        except Stopped:
            logger.info("stopped while ClickHouse was away; what is not recorded stays in Kafka")

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group takes partitions away: forget what was read of them, and let an insert under way be decided."""
        self._wanted = frozenset()
        self._has_changed = True
        async with self._inserting:
            pass

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The group gives partitions; the loop takes them."""
        self._wanted = frozenset(self._log.kp(at.partition) for at in assigned)
        self._has_changed = True

    async def _turn(self) -> None:
        if self._has_changed:
            await self._take()
        wait_s = self._blocks.wait_s(time.monotonic())
        timeout_s = POLL_S if wait_s is None else min(wait_s, POLL_S)
        fetched = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000))
        for records in fetched.values():
            for record in records:
                await self._read(record)
                await asyncio.sleep(0)  # the loop also serves whoever asks
        if self._blocks.wait_s(time.monotonic()) == 0:
            await self._flush()
        if not self._shared and time.monotonic() >= self._look_at_s:
            try:
                await self._look_for_partitions()
            except KafkaError as error:
                logger.debug("cannot look for new partitions: %r", error)

    async def _read(self, record: ConsumerRecord[Any, Any]) -> None:
        kp = self._log.kp(record.partition)
        if self._has_changed or record.offset < self._next.get(kp, record.offset + 1):
            return  # read before the partition was taken, or before it was sought
        self._tell_gap(kp, record.offset)
        try:
            await self._accept(record, kp)
        except CodecError as error:
            await self._dead_letters.send(record, code=error.code, message=error.message)
        self._next[kp] = record.offset + 1
        self._blocks.touch(time.monotonic())
        if self._blocks.wait_s(time.monotonic()) == 0:
            await self._flush()

    def _tell_gap(self, kp: int, offset: int) -> None:
        expected = self._next[kp]
        if offset > expected:
            logger.error(
                "%s/%s: offsets %s to %s were removed before they were read", *self._log.at(kp), expected, offset - 1
            )

    async def _accept(self, record: ConsumerRecord[Any, Any], kp: int) -> None:
        message = self._log.message_of(record, kp)
        if message is None:
            return
        marks = self._account.marks
        if marks.is_new(message.stretch, message.ko):
            self._dead_letters.remember(record)
            self._blocks.add(message, time.monotonic())
        else:
            marks.check_same_log(message.stretch, message.ko, message.log_ts_ms)

    async def _flush(self) -> None:
        """Insert what was collected, then note the position. Partitions lost meanwhile end it."""
        positions = dict(self._next)
        async with self._inserting:
            for block in self._blocks.take():
                await self._insert(block)
            if not self._has_changed:
                await self._patience.until_there(lambda: self._account.note(positions))
                self._dead_letters.forget()

    async def _insert(self, block: Block) -> None:
        """Insert a block, however long the store is away."""
        rest = block

        async def attempt() -> None:
            if self._has_changed or not rest.messages:
                return
            await self._account.insert(rest, rows_of(rest))
            self.rows += rest.rows

        async def look_again() -> None:
            nonlocal rest
            if self._has_changed:
                return
            rest = await self._account.only_new(rest)

        try:
            await self._patience.until_there(attempt, after_failure=look_again)
        except InsertRefused as error:
            await self._divide(rest, error)

    async def _divide(self, block: Block, error: InsertRefused) -> None:
        """Find the messages that the store refuses, in order, and record the others."""
        if len(block.messages) == 1:
            (message,) = block.messages
            partition = self._log.at(message.kp).partition
            await self._dead_letters.send_remembered(partition, message.ko, code=error.code, message=error.message)
            return
        for half in block.halves():
            await self._insert(half)

    async def _look_for_partitions(self) -> None:
        self._look_at_s = time.monotonic() + LOOK_AGAIN_S
        cluster = await self._consumer._client.fetch_all_metadata()
        found = frozenset(map(self._log.kp, cluster.partitions_for_topic(self._log.topic) or ()))
        if not found and not self._wanted and not self._log.is_optional:
            raise TransportError(f"topic {self._log.topic} does not exist; make it with `millrace topics create`")
        if found > self._wanted:
            await self._flush()
            self._consumer.assign([self._log.at(kp) for kp in sorted(found)])
            self._wanted = found
            self._has_changed = True

    async def _take(self) -> None:
        """Forget what was read, read marks and positions, and go to where each partition goes on."""
        self._blocks.clear()
        self._dead_letters.forget()
        self._next.clear()
        self._has_changed = False
        partitions = [self._log.at(kp) for kp in sorted(self._wanted)]
        if not partitions:
            return
        await self._patience.until_there(self._account.load)
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        for partition in partitions:
            self._seek(partition, begins[partition], ends[partition])

    def _seek(self, partition: TopicPartition, begins: int, ends: int) -> None:
        kp = self._log.kp(partition.partition)
        account = self._account
        start = start_of(kp, marks=account.marks, positions=account.positions, begins=begins, ends=ends)
        if start.lost:
            first, last = start.offset - start.lost, start.offset - 1
            logger.error("%s/%s: offsets %s to %s were removed before they were recorded", *partition, first, last)
        try:
            self._consumer.seek(partition, start.offset)
        except IllegalStateError:  # taken away again meanwhile; the listener has said so
            return
        self._next[kp] = start.offset
        logger.info("recording %s/%s from offset %s of %s", *partition, start.offset, ends)
