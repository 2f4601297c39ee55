"""The Kafka side of a client: one producer, one consumer of one response partition, one task that reads it.

What the records mean is the inbox's business; this module moves them and keeps the connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from pipeline.client.answer import Answer
from pipeline.client.ask import Ask
from pipeline.client.inbox import Inbox
from pipeline.client.lanes import Lanes
from pipeline.client.outages import OutageLog
from pipeline.client.partition import open_at_end
from pipeline.client.sender import Sender
from pipeline.client.timeouts import Timeouts
from pipeline.settings import KafkaSettings
from topics import names
from topics.codec import encode
from topics.errors import CodecError, PipelineError, TransportError
from topics.feedback import Feedback
from topics.requests import Cancellation, ReplyTo

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_RECORDS: Final = 2000
SWEEP_S: Final = 0.25
"""How often answers are looked through for overdue ones."""
RETRY_S: Final = 0.25
CLOSE_S: Final = 5.0
"""For cancellations that are still to be acknowledged when a client closes."""


class Connection:
    """Sends requests and feeds the answers of one response partition to an inbox. Bound to one event loop.

    Args:
        settings: the broker.
        topic: response topic; it must exist.
        partition: the partition to read; None for a random one.
        client_id: shows in the broker's logs and quotas.
        timeouts: how long to wait for the broker.
    """

    def __init__(
        self, settings: KafkaSettings, *, topic: str, partition: int | None, client_id: str, timeouts: Timeouts
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._partition = partition
        self._client_id = client_id
        self._timeouts = timeouts
        self._inbox = Inbox()
        self._outages = OutageLog(settings.brokers)
        self._tasks: set[asyncio.Task[None]] = set()
        self._followers: dict[asyncio.Task[None], Callable[[], None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._sender = Sender(settings, client_id=client_id)
        self._consumer: AIOKafkaConsumer | None = None
        self._lanes = Lanes()
        self._reply: ReplyTo | None = None
        self.undecodable = 0
        """Records under one of our ids that are no responses."""

    @property
    def reply(self) -> ReplyTo:
        """The partition that answers come to.

        Raises:
            TransportError: the client is not open.
        """
        if self._reply is None or self._reading is None or self._reading.done():
            raise TransportError("the client is not open; use it as a context or call open() first")
        return self._reply

    @property
    def waiting(self) -> int:
        """Acknowledged requests that have not ended."""
        return len(self._inbox)

    @property
    def foreign(self) -> int:
        """Records of others in the partition, passed over."""
        return self._inbox.foreign

    def now_s(self) -> float:
        """The clock of all times here."""
        return asyncio.get_running_loop().time()

    async def open(self) -> None:
        """Connect and begin to read at the end of the response partition, so that no later answer can be missed.

        Raises:
            TransportError: no broker within `connect_s`.
            SettingsError: the response topic or the partition does not exist.
        """
        self._outages.attach()
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                consumer = await self._connect()
        except TimeoutError as error:
            await self.close()
            limit_s = self._timeouts.connect_s
            raise TransportError(f"no broker at {self._settings.brokers} within connect_s of {limit_s:g} s") from error
        except BaseException:
            await self.close()
            raise
        self._reading = self._spawn(self._read(consumer), name=f"responses of {self._client_id}")

    async def close(self) -> None:
        """Give up what is open, cancelling what needs its reader, and disconnect. Idempotent."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        for end in list(self._followers.values()):
            end()
        for answer in self._inbox:
            self.give_up(answer, TransportError(f"the client was closed before request {answer.id} had ended"))
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_S)
            for task in late:
                task.cancel()
        if self._consumer is not None:
            await self._consumer.stop()
        await self._sender.stop()
        self._outages.detach()
        self._consumer = self._reply = None

    def send(self, ask: Ask, answer: Answer) -> asyncio.Task[None]:
        """Begin to produce a request; wait for it with `acknowledged`."""
        return self._spawn(self._send(ask, answer), name=f"send {ask.id}")

    def follow(self, reading: Coroutine[Any, Any, None], *, name: str, end: Callable[[], None]) -> asyncio.Task[None]:
        """Run a reader of the log with a consumer of its own; it is told to `end` when the connection closes."""
        task = self._spawn(reading, name=name)
        self._followers[task] = end
        task.add_done_callback(lambda done: self._followers.pop(done, None))
        return task

    async def acknowledged(self, sending: asyncio.Task[None], answer: Answer) -> None:
        """Wait until the broker has the request and its answer is being fed.

        Raises:
            RequestError: the request can never be accepted, or no lane serves its model and class.
            TransportError: not acknowledged within `send_s`. It may still get there, and is cancelled then unless
                it was sent again: the same id with the same body gets the same answer, however often it is sent.
        """
        try:
            async with asyncio.timeout(self._timeouts.send_s):
                await asyncio.shield(sending)
        except TimeoutError as error:
            why = TransportError(
                f"request {answer.id} was not acknowledged within send_s of {self._timeouts.send_s:g} s; "
                "the broker may still accept it: send it again with the same id"
            )
            answer.fail(why)
            raise why from error
        except asyncio.CancelledError as error:
            why = TransportError(f"request {answer.id} was given up before it was acknowledged")
            answer.fail(why)
            if sending.cancelled():  # by `close`, not by our caller
                raise why from error
            raise

    async def cancel(self, cancellation: Cancellation) -> None:
        """Produce a cancellation. When this returns the broker has it.

        Raises:
            TransportError: not acknowledged within `send_s`.
        """
        await self._tell(names.CANCELLATIONS, cancellation)

    async def judge(self, feedback: Feedback) -> None:
        """Produce feedback. When this returns the broker has it.

        Raises:
            TransportError: not acknowledged within `send_s`.
        """
        await self._tell(names.FEEDBACK, feedback)

    async def _tell(self, topic: str, record: Cancellation | Feedback) -> None:
        limit_s = self._timeouts.send_s
        try:
            async with asyncio.timeout(limit_s):
                await self._sender.send(topic, record.id, encode(record))
        except TimeoutError as error:
            what = type(record).__name__.lower()
            raise TransportError(f"{what} of {record.id} not acknowledged within {limit_s:g} s") from error

    def give_up(self, answer: Answer, why: TransportError) -> asyncio.Task[None] | None:
        """Nobody waits for this answer any more: forget it, and cancel its request if that needs its reader.

        Returns:
            The cancellation under way, if there is one. A request that is not acknowledged yet is cancelled when it is.
        """
        if answer.is_over:
            return None
        answer.fail(why)
        self._inbox.forget(answer)
        if answer.cancellation is None or answer.origin is None or self._inbox.waits_for(answer.id):
            return None
        return self._spawn(self._cancel_quietly(answer.cancellation), name=f"cancel {answer.id}")

    async def _send(self, ask: Ask, answer: Answer) -> None:
        value = ask.value(self.reply)
        assert self._consumer is not None, "what has a reply address has a consumer"
        await self._lanes.check(ask.lane, self._consumer, self.now_s())
        self._inbox.expect(ask.id)
        try:
            sent = await self._sender.send(ask.lane.topic, ask.id, value, ask.headers)
        except BaseException:
            self._inbox.disown(ask.id)
            raise
        self._inbox.open(answer, names.origin_of(sent.topic, sent.partition, sent.offset), self.now_s())
        if self._reading is None:
            answer.fail(TransportError(f"the client was closed before request {ask.id} had ended"))
        if answer.error is not None:  # nobody waits any more
            self._inbox.forget(answer)
            if answer.cancellation is not None and not self._inbox.waits_for(ask.id):
                await self._cancel_quietly(answer.cancellation)

    async def _cancel_quietly(self, cancellation: Cancellation) -> None:
        try:
            await self.cancel(cancellation)
        except TransportError as error:
            logger.warning("request %s goes on without a reader: %s", cancellation.id, error)

    async def _connect(self) -> AIOKafkaConsumer:
        consumer, self._reply = await self._patiently(
            lambda: open_at_end(self._settings, topic=self._topic, partition=self._partition, client_id=self._client_id)
        )
        self._consumer = consumer
        await self._patiently(self._sender.start)
        return consumer

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """Try until it works."""
        while True:
            try:
                return await step()
            except KafkaError as error:
                logger.debug("connecting to %s: %r", self._settings.brokers, error)
                await asyncio.sleep(RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        """Feed the inbox until cancelled."""
        sweep_at_s = 0.0
        while True:
            try:
                batches = await consumer.getmany(timeout_ms=int(SWEEP_S * 1000), max_records=MAX_RECORDS)
            except KafkaError as error:
                logger.error("reading %s failed and is tried again: %r", self._topic, error)
                await asyncio.sleep(RETRY_S)
                continue
            now_s = self.now_s()
            for records in batches.values():
                self._feed(records, now_s)
            if now_s >= sweep_at_s:
                sweep_at_s = now_s + SWEEP_S
                self._sweep(now_s, consumer)

    def _feed(self, records: list[Any], now_s: float) -> None:
        feed = self._inbox.feed
        for record in records:
            try:
                feed(record.key, record.value, now_s)
            except CodecError as error:
                self.undecodable += 1
                logger.warning("skipped %s/%s/%s: %s", record.topic, record.partition, record.offset, error)

    def _sweep(self, now_s: float, consumer: AIOKafkaConsumer) -> None:
        connections = consumer._client._conns.values()
        self._outages.report(is_reachable=any(c.connected() for c in connections), waiting=self.waiting)
        for answer in self._inbox:
            late = answer.overdue(now_s)
            if late is not None:
                self.give_up(answer, late)

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None or isinstance(error, PipelineError):
            return  # `acknowledged` raises it
        logger.error("%s ended unexpectedly", task.get_name(), exc_info=error)
        if task is self._reading:
            for answer in self._inbox:
                self.give_up(answer, TransportError(f"reading {self._topic} ended unexpectedly: {error!r}"))
