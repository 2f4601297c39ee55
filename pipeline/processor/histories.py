"""Reads what the former owners of shards have left in the logs: lanes, slots, answers and cancellations.

A consumer without a group reads each log from its end back, as far as it matters and no further than a limit of time:
whatever is left out is done once more and ignored by the readers of its answer. What must be known before a shard may
begin comes first; older ids are read while it works.

    what                                   from                                                    to most
    ---------------------------------------------------------------------------------------------------------------
    lanes and returns, not committed       the committed offset                                    UNREAD records each
    slots of all deployments               what their workers have committed, or the oldest         SLOTS_S
                                           record that is not committed, whichever is older
    cancellations                          the longest deadline ago                                CANCELLED records
    answers of what was not dispatched     the oldest of these                                     ANSWERS_S
    lanes, committed: ids                  the deduplication window ago                            IDS_S, then go on
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.processor.logs import Logs
from pipeline.runtime import kafka
from pipeline.runtime.backwards import Span
from pipeline.runtime.reading import Record, reader
from pipeline.settings import KafkaSettings
from processors.app import group_of
from processors.dedupe.runs import LIMIT, SKEW_MS
from processors.events import Address
from processors.policy import Policy
from processors.recovery.answers import AnswerScan, Fate, Question
from processors.recovery.legacy import Legacy
from processors.recovery.slots import Place
from topics import names
from topics.codec import decode_cancellation, decode_slot_record
from topics.dispatches import Cancel, Dispatch
from topics.errors import CodecError
from topics.requests import ReplyTo

UNREAD: Final = 16_384
"""Records behind a committed offset that a former owner may have handled: what it may leave unacknowledged, and what it
was handed before its lane was held."""
SLOTS_S: Final = 3.0
ANSWERS_S: Final = 1.0
IDS_S: Final = 1.0
CANCELLED: Final = 100_000
TOGETHER: Final = 4
"""Models of one process whose logs are read at the same time."""

Legacies = Mapping[int, Legacy]


class Histories:
    """Of all models of a process.

    Args:
        settings: the broker.
        process: names the process to the broker.
    """

    def __init__(self, settings: KafkaSettings, *, process: str) -> None:
        self._settings = settings
        self._client_id = f"{process}-history"
        self._turns = asyncio.Semaphore(TOGETHER)

    def of(self, policy: Policy) -> "ModelHistory":
        """Those of one model."""
        return ModelHistory(policy, self._settings, client_id=self._client_id, turns=self._turns)


class ModelHistory:
    """Of one model.

    Args:
        policy: the model.
        settings: the broker.
        client_id: names the process to the broker.
        turns: lets few read at the same time.
    """

    def __init__(self, policy: Policy, settings: KafkaSettings, *, client_id: str, turns: asyncio.Semaphore) -> None:
        self._policy = policy
        self._settings = settings
        self._client_id = client_id
        self._turns = turns

    async def read(self, legacies: Legacies) -> AsyncGenerator[None]:
        """Fill the legacies of some shards; yields once, when these may begin, and goes on with older ids.

        Raises:
            KafkaError: the broker cannot be reached, or does not let its logs be read.
        """
        async with self._turns, self._connected() as (consumer, admin):
            reading = _Reading(self._policy, consumer, legacies)
            await reading.positions(admin)
            await reading.unread()
            await reading.slots_and_cancellations()
            await reading.answers(question for legacy in legacies.values() for question in legacy.questions())
            rest = await reading.ids(reading.id_spans(), within_s=IDS_S)
            await reading.settle_doubts()
            yield
            if rest:
                await reading.ids(rest, within_s=None)
                await reading.settle_doubts()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[AIOKafkaConsumer, AIOKafkaAdminClient]]:
        """Both clients, started at the same time: a shard waits for them."""
        admin = kafka.admin(self._settings, client_id=self._client_id)
        starting = asyncio.create_task(admin.start(), name="history admin")
        try:
            async with reader(self._settings, client_id=self._client_id) as consumer:
                await starting
                yield consumer, admin
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await admin.close()


class _Reading:
    """One reading, step by step."""

    def __init__(self, policy: Policy, consumer: AIOKafkaConsumer, legacies: Legacies) -> None:
        self._policy = policy
        self._logs = Logs(consumer)
        self._legacies = legacies
        self._now_ms = int(time.time() * 1000)
        self._unread: dict[TopicPartition, Span] = {}
        self._slots: dict[TopicPartition, Span] = {}
        self._cancelled: dict[TopicPartition, Span] = {}
        self._returns = names.returns_topic(policy.model)
        self._ids: dict[TopicPartition, Span] = {}

    async def positions(self, admin: AIOKafkaAdminClient) -> None:
        """Where the lanes and slots begin and end, and how far their groups have come."""
        model = self._policy.model
        await self._logs.look()
        lanes = [names.Lane(model, latency_class).topic for latency_class in self._policy.classes]
        ours = [place for place in self._logs.places(*lanes, self._returns) if place.partition in self._legacies]
        replies = [topic for topic in self._logs.topics() if names.is_responses_topic(topic)]
        prefix = names.dispatch_topic(f"{model}@")
        slots = sorted(topic for topic in self._logs.topics() if topic.startswith(prefix))
        groups = [f"millrace.{model}.{topic.removeprefix(prefix)}" for topic in slots]
        self._logs.wanted = [*lanes, self._returns, *slots, *replies, names.CANCELLATIONS]
        await self._logs.find_leaders()
        behind = [
            self._logs.behind(admin, group, self._logs.places(topic))
            for topic, group in zip(slots, groups, strict=True)
        ]
        self._unread, self._cancelled, *found = await asyncio.gather(
            self._logs.behind(admin, group_of(model), ours),
            self._of_late(self._logs.places(names.CANCELLATIONS)),
            *behind,
        )
        for spans in found:
            self._slots |= spans
        for number, legacy in self._legacies.items():
            legacy.begin({place.topic: span[0] for place, span in self._unread.items() if place.partition == number})
        since_ms = self._now_ms - int(1000 * self._policy.dedupe_window_s)
        committed = {p: span[0] for p, span in self._unread.items() if p.topic != self._returns}
        firsts = await self._since(committed, since_ms)
        self._ids = {place: (min(max(firsts[place], end - LIMIT), end), end) for place, end in committed.items()}

    async def unread(self) -> None:
        """What the former owners have read and not committed."""
        spans = {place: (first, min(end, first + UNREAD)) for place, (first, end) in self._unread.items()}
        await self._logs.read(spans, self._on_unread, step=UNREAD)

    async def slots_and_cancellations(self) -> None:
        """What lies in the slots: dispatches that are in flight or of requests that are not committed. And the
        cancellations of the longest deadline: requests that they mean may still be unread.
        """
        since_ms = [legacy.waiting_since_ms for legacy in self._legacies.values()]
        oldest_ms = min((at_ms for at_ms in since_ms if at_ms is not None), default=None)
        spans = dict(self._slots)
        if oldest_ms is not None:
            firsts = await self._since({place: end for place, (_, end) in spans.items()}, oldest_ms - SKEW_MS)
            spans = {place: (min(first, firsts[place]), end) for place, (first, end) in spans.items()}
        await self._logs.read(spans | self._cancelled, self._on_slot_record_or_cancellation, within_s=SLOTS_S)

    async def answers(self, questions: Iterable[Question]) -> None:
        """What became of requests that are not committed and were not dispatched."""
        fates = await self._answered(list(questions))
        for legacy in self._legacies.values():
            legacy.on_answers(fates)

    async def settle_doubts(self) -> None:
        """Which body of an id counts, where it came with several."""
        for legacy in self._legacies.values():
            doubtful = legacy.identities.doubtful()
            if doubtful:
                legacy.identities.decide(await self._answered(doubtful))

    def id_spans(self) -> dict[TopicPartition, Span]:
        """Where the ids of the deduplication window are, of as many requests as are remembered."""
        return dict(self._ids)

    async def ids(self, spans: Mapping[TopicPartition, Span], *, within_s: float | None) -> dict[TopicPartition, Span]:
        """Read ids until time is up or enough are known, and return what was not read."""
        legacies = self._legacies.values()
        left = await self._logs.read(spans, self._on_committed, within_s=within_s, enough=lambda: _are_full(legacies))
        if not left and not any(legacy.identities.is_full for legacy in legacies):
            for legacy in legacies:
                legacy.seen_since_ms = self._now_ms - int(1000 * self._policy.dedupe_window_s)
        return {} if _are_full(legacies) else left

    # Records

    def _on_unread(self, record: Record) -> None:
        legacy, at = self._legacies[record.partition], Address(record.topic, record.partition, record.offset)
        tell = legacy.on_returned if record.topic == self._returns else legacy.on_waiting
        tell(at, record.timestamp, record.value)

    def _on_slot_record_or_cancellation(self, record: Record) -> None:
        if record.topic == names.CANCELLATIONS:
            self._on_cancellation(record)
        else:
            self._on_slot_record(record)

    def _on_slot_record(self, record: Record) -> None:
        try:
            found = decode_slot_record(record.value or b"")
        except CodecError:
            return  # its worker puts it among the dead letters
        at = _address(found.origin or "") if isinstance(found, Dispatch | Cancel) else None
        legacy = None if at is None else self._legacies.get(at.partition)
        if at is None or legacy is None:
            return
        if isinstance(found, Cancel):
            legacy.slots.on_cancel(found)
        elif isinstance(found, Dispatch):
            committed = self._slots[TopicPartition(record.topic, record.partition)][0]
            place = Place(
                deployment=found.deployment,
                slot=record.partition,
                offset=record.offset,
                at_ms=record.timestamp,
                is_open=record.offset >= committed,
            )
            legacy.slots.on_dispatch(found, at, place)

    def _on_cancellation(self, record: Record) -> None:
        try:
            cancellation = decode_cancellation(record.value or b"")
        except CodecError:
            return  # the reader of all cancellations counts it
        if cancellation.model == self._policy.model:
            for legacy in self._legacies.values():
                legacy.cancellations.on_record((cancellation.tenant, cancellation.id), record.timestamp)

    def _on_committed(self, record: Record) -> None:
        identities = self._legacies[record.partition].identities
        if not identities.is_full:
            at = Address(record.topic, record.partition, record.offset)
            identities.on_record(at, record.timestamp, record.value)

    # Answers

    async def _answered(self, questions: list[Question]) -> dict[str, Fate]:
        scan = AnswerScan(questions)
        since = {TopicPartition(reply.topic, reply.partition): at_ms - SKEW_MS for reply, at_ms in scan.spans()}
        if not questions:
            return {}
        await self._logs.find_leaders()
        existing = set(self._logs.places(*{place.topic for place in since}))
        ends = await self._logs.ends([place for place in since if place in existing])
        firsts = await self._logs.since(ends, since)
        spans = {place: (firsts[place], end) for place, end in ends.items()}

        def on_record(record: Record) -> None:
            try:
                reply = ReplyTo(topic=record.topic, partition=record.partition)
                scan.on_record(reply, record.offset, record.key, record.value)
            except CodecError:
                return  # not a record of the answer that is looked for

        await self._logs.read(spans, on_record, within_s=ANSWERS_S)
        return scan.fates()

    async def _of_late(self, places: list[TopicPartition]) -> dict[TopicPartition, Span]:
        """Where the cancellations of the longest deadline lie."""
        ends = await self._logs.ends(places)
        firsts = await self._since(ends, self._now_ms - self._policy.longest_deadline_ms)
        return {place: (max(firsts[place], end - CANCELLED // len(places)), end) for place, end in ends.items()}

    async def _since(self, ends: Mapping[TopicPartition, int], at_ms: int) -> dict[TopicPartition, int]:
        return await self._logs.since(ends, dict.fromkeys(ends, at_ms))


def _are_full(legacies: Iterable[Legacy]) -> bool:
    return all(legacy.identities.is_full for legacy in legacies)


def _address(origin: str) -> Address | None:
    try:
        return Address(*names.split_origin(origin))
    except ValueError:
        return None
