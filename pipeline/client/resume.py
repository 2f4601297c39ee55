"""Going on with an answer from the log: in another process, after a crash, or long after its end.

Everything that a reader needs lies in the response partition. It is read from the oldest record that may belong to the
answer, judged by the reader rule like any live one, and followed until the request has ended.
"""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.client.answer import Answer, Cursor, Delta
from pipeline.client.connection import MAX_RECORDS, RETRY_S, SWEEP_S, Connection
from pipeline.client.failures import AnswerNotFound
from pipeline.client.request_log import Traces, request_at
from pipeline.client.search import Found, Search, Wanted
from pipeline.client.stream import Reading
from pipeline.client.timeouts import Limits
from pipeline.runtime.reading import CLOCKS_MS, Record, begin, existing_partitions, is_read, reader
from pipeline.settings import KafkaSettings
from topics.codec import decode_response
from topics.errors import CodecError, PipelineError, TransportError
from topics.names import origin_of
from topics.requests import ReplyTo

logger = logging.getLogger(__name__)

Batches = Mapping[TopicPartition, Sequence[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseLog:
    """Where answers are looked for: the broker, and the topic of a request that names none."""

    settings: KafkaSettings
    topic: str
    client_id: str


class Resumed(Reading):
    """The rest of an answer, from the log.

    It is looked for when it is first iterated, opened, entered as a context or asked for its result, once, with a
    consumer of its own. Leaving the iteration or the context before the end, and `aclose`, end the reading and leave
    the request alone. `result` is the whole answer, including what the reader has had before.
    """

    def __init__(
        self, connection: Connection, log: ResponseLog, wanted: Wanted, *, limits: Limits, find_s: float
    ) -> None:
        super().__init__(Answer(request_id=wanted.id, limits=limits))
        self._connection = connection
        self._log = log
        self._wanted = wanted
        self._first_token_s = limits.first_token_s
        self._find_s = find_s
        self._following: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Find the answer, if that was not done yet, and read what the log has of it.

        Raises:
            AnswerNotFound: the log has no record of the request, and got none within `find_s`; or the beginning of its
                answer is not kept any more.
            TransportError: the broker cannot be reached.
        """
        if self._following is None:
            closed = f"the client was closed before request {self.id} had ended"
            self._following = self._connection.follow(
                self._follow(), name=f"answer of {self.id}", end=lambda: self._end(closed)
            )
        while self._answer.origin is None and not self._answer.is_over:
            await self._wait()
        if self._answer.origin is None and self._answer.error is not None:
            raise self._answer.error
        return self

    def leave(self) -> None:
        """Stop reading, without waiting. The request goes on. Idempotent."""
        self._end(f"the reader of request {self.id} left before the end; resume again")

    def _end(self, why: str) -> None:
        if self._following is not None and not self._answer.is_over:  # else the consumer is stopping, undisturbed
            self._answer.fail(TransportError(why))
            self._following.cancel()

    def _unread(self, cursor: Cursor) -> list[Delta]:
        deltas = super()._unread(cursor)
        return [delta for delta in deltas if self._wanted.is_news(delta, cursor.epoch)]

    async def _follow(self) -> None:
        """Feed the answer until it is over; what goes wrong becomes its error."""
        brokers = self._log.settings.brokers
        try:
            async with reader(self._log.settings, client_id=self._log.client_id) as log:
                async with asyncio.timeout(None if math.isinf(self._first_token_s) else self._first_token_s):
                    reply = await self._catch_up(log)
                await self._go_on(log, reply)
        except PipelineError as error:
            self._answer.fail(error)
        except KafkaError as error:
            self._answer.fail(TransportError(f"Kafka at {brokers}: {str(error) or type(error).__name__}"))
        except TimeoutError:
            self._answer.fail(TransportError(f"the log was not read within first_token_s of {self._first_token_s:g} s"))
        finally:
            self._answer.fail(TransportError(f"reading the answer to request {self.id} ended unexpectedly"))

    async def _catch_up(self, log: AIOKafkaConsumer) -> ReplyTo:
        """Read what there is of the answer; returns where the rest of it will be."""
        traces = await self._traces(log)
        places = await self._places(log, traces.reply)
        ends = await begin(log, places, since_ms=None if traces.at_ms is None else traces.at_ms - CLOCKS_MS)
        search = Search(self._wanted)
        while not await is_read(log, ends):
            _search(search, await log.getmany(timeout_ms=int(SWEEP_S * 1000), max_records=MAX_RECORDS))
        found = search.newest
        if found is None and self._wanted.origin is not None and traces.reply is not None:
            found = Found(origin=self._wanted.origin, reply=traces.reply, records=[])
        return self._begin(found or await self._awaited(log, search))

    async def _traces(self, log: AIOKafkaConsumer) -> Traces:
        """What is known of where and when the answer was written."""
        wanted = self._wanted
        if wanted.origin is None:
            return Traces(reply=wanted.reply, at_ms=None)
        return await request_at(log, wanted.id, wanted.origin, reply=wanted.reply)

    async def _places(self, log: AIOKafkaConsumer, reply: ReplyTo | None) -> list[TopicPartition]:
        topic = self._log.topic if reply is None else reply.topic
        existing = await existing_partitions(log, [topic])
        places = [place for place in existing if reply is None or place.partition == reply.partition]
        if not places:
            where = topic if reply is None else f"{topic}/{reply.partition}"
            raise AnswerNotFound(f"there is no {where}; name the reply address that the request had")
        return places

    async def _awaited(self, log: AIOKafkaConsumer, search: Search) -> Found:
        """The first answer to the id that comes now."""
        try:
            async with asyncio.timeout(self._find_s):
                while (found := search.newest) is None:
                    _search(search, await log.getmany(timeout_ms=int(SWEEP_S * 1000)))
                return found
        except TimeoutError as error:
            raise AnswerNotFound(
                f"the log has no answer to request {self.id}, and got none within find_s of {self._find_s:g} s; check "
                "the id and the response topic, name the request's origin if it may still wait in its lane"
            ) from error

    def _begin(self, found: Found) -> ReplyTo:
        if not found.is_whole:
            raise AnswerNotFound(
                f"the beginning of the answer to request {self.id} (origin {found.origin}) is not kept any more"
            )
        now_s = self._connection.now_s()
        self._answer.accept(found.origin, now_s)
        for record in found.records:
            self._answer.feed(record, now_s)
        self._news.set()
        return found.reply

    async def _go_on(self, log: AIOKafkaConsumer, reply: ReplyTo) -> None:
        """Follow the one partition until the answer is over."""
        place = TopicPartition(reply.topic, reply.partition)
        position = await log.position(place)
        log.assign([place])
        log.seek(place, position)
        while not self._answer.is_over:
            self._feed(await _some(log))
            late = self._answer.overdue(self._connection.now_s())
            if late is not None:
                self._answer.fail(late)  # which does nothing if the answer is over

    def _feed(self, batches: Batches) -> None:
        key, now_s = self.id.encode(), self._connection.now_s()
        for record in (record for records in batches.values() for record in records if record.key == key):
            try:
                response = decode_response(record.value)
            except CodecError as error:
                _skipped(record, error)
                continue
            if response.origin == self._answer.origin:
                self._answer.feed(response, now_s)


async def _some(log: AIOKafkaConsumer) -> Batches:
    """The next records, as soon as there are any; none after a moment."""
    try:
        batches: Batches = await log.getmany(timeout_ms=int(SWEEP_S * 1000), max_records=MAX_RECORDS)
    except KafkaError as error:
        logger.error("following an answer failed and is tried again: %r", error)
        await asyncio.sleep(RETRY_S)
        return {}
    return batches


def _search(search: Search, batches: Batches) -> None:
    for place, records in batches.items():
        reply = ReplyTo(topic=place.topic, partition=place.partition)
        for record in records:
            try:
                search.feed(reply, record.key, record.value, record.timestamp)
            except CodecError as error:
                _skipped(record, error)


def _skipped(record: Record, error: CodecError) -> None:
    logger.warning("skipped %s: %s", origin_of(record.topic, record.partition, record.offset), error)
