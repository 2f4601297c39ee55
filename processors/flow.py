"""Faust's Kafka transport with three things that it lacks: options of the client, holding a partition, quick waking.

Faust makes its consumer in a thread of its own from its own settings. Here the client is made by whoever knows the
cluster. Pausing with Faust's `pause_partitions` throws away what was fetched of the partition and not yet handed to its
agent, and commits past it; `hold` stops fetching and lets what was fetched through.
"""

import asyncio
import types
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, ClassVar, Final

import faust
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from faust.app.base import BootStrategy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from processors.intake import Intake

FETCH_WAIT_S: Final = 1.0
"""How long the client's `getmany` waits for records before it is called again."""
TAKEN_AT_ONCE: Final = 10_000
"""Records: all that was fetched."""
PACE_S: Final = 0.002
"""At least so long between two hand-overs. Each costs two thread switches and a turn of Faust, for one record or many:
when records come faster than this, they come together. A lone record does not wait."""
ATTENDED_S: Final = 60.0
"""Records are taken from the client for so long after Faust has asked for some: a main loop that hangs must not look
alive to the group for ever."""

MakeConsumer = Callable[[AbstractPartitionAssignor], AIOKafkaConsumer]
"""Makes the client of the group, not started, for the running loop; partitions are assigned by the given assignor."""


class LaneConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs the client in its thread: heartbeats to the group go on while the main loop is busy.

    A pump takes what the client has fetched into an intake, from which Faust is served.
    """

    _pumping: asyncio.Task[None] | None = None

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        assert isinstance(transport, LaneTransport)
        self._assignor = self.app.assignor
        return transport.make_consumer(self._assignor)

    async def on_start(self) -> None:
        await super().on_start()
        self._intake: Intake[TopicPartition] = Intake()
        self._of: object = None
        self._failed: Exception | None = None
        self._news = asyncio.Event()
        self._asked = asyncio.Event()
        self._asked_at_s = self._served_at_s = self.thread_loop.time()
        self._pumping = asyncio.create_task(self._pump(self._ensure_consumer()), name="lane intake")

    async def on_thread_stop(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()
        await super().on_thread_stop()

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP] | None,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        """Records of the active partitions, a few at a time and of each lane the same number."""
        self._asked_at_s = self.thread_loop.time()
        self._asked.set()
        give_up_at_s = self._asked_at_s + (timeout or 0.0)
        await asyncio.sleep(max(0.0, self._served_at_s + PACE_S - self._asked_at_s))
        while True:
            # Asked anew each time: what is taken while the flow is off, Faust throws away and later commits past.
            if not self.consumer.flow_active:
                return {}
            if found := self._served(consumer, active_partitions, max_records or 1):
                break
            self._news.clear()
            try:
                async with asyncio.timeout(give_up_at_s - self.thread_loop.time()):
                    await self._news.wait()
            except TimeoutError:
                break
        self._served_at_s = self.thread_loop.time()
        return found

    def wake(self) -> None:
        """Let a fetch that waits for records look again: a partition that was held may have some."""
        if not self.thread_loop.is_closed():
            self.thread_loop.call_soon_threadsafe(self._news.set)

    def _served(
        self, consumer: AIOKafkaConsumer, wanted: set[TP] | None, limit: int
    ) -> dict[TopicPartition, list[Any]]:
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        self._follow(consumer)
        found = self._intake.take(wanted, limit)
        consumer.resume(*self._intake.drained())
        return found

    async def _pump(self, consumer: AIOKafkaConsumer) -> None:
        """Empty the client's buffers as they fill, until cancelled."""
        while True:
            try:
                fetched = await consumer.getmany(timeout_ms=int(1000 * FETCH_WAIT_S), max_records=TAKEN_AT_ONCE)
                self._follow(consumer)
                consumer.pause(*self._intake.put(fetched))
                _raise_dead(consumer)
            except Exception as error:  # told to Faust, which decides, at its next fetch
                self._failed = error
                await asyncio.sleep(FETCH_WAIT_S)
            self._news.set()
            await self._attended(consumer)

    async def _attended(self, consumer: AIOKafkaConsumer) -> None:
        """Go on at once while Faust asks for records, else when it asks again.

        A standby without partitions is never asked, and has to go on: a member that does not poll is put out of the
        group, and does not come back.
        """
        if consumer.assignment() and self.thread_loop.time() - self._asked_at_s > ATTENDED_S:
            self._asked.clear()
            await self._asked.wait()

    def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Forget what was fetched under a former assignment: its positions are void, and it is fetched again."""
        subscription = consumer._subscription.subscription
        current = None if subscription is None else subscription.assignment
        if current is not self._of:
            self._of = current
            self._intake.clear()


def _raise_dead(consumer: AIOKafkaConsumer) -> None:
    """A client whose fetch task has died returns nothing for ever, and its group sees a living member."""
    fetching = consumer._fetcher._fetch_task
    if fetching.done() and not fetching.cancelled():
        raise fetching.exception() or RuntimeError("the Kafka client has stopped fetching")


class LaneConsumer(driver.Consumer):
    """A consumer whose partitions can be held, and which hands a record on without a task where it need not wait."""

    _thread: LaneConsumerThread

    def _new_consumer_thread(self) -> LaneConsumerThread:
        self._held: set[TP] = set()
        return LaneConsumerThread(self, loop=self.loop, thread_loop=uvloop.new_event_loop(), beacon=self.beacon)

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:
        """As Faust's, but a first coroutine that can run to its end at once is not made a task.

        Faust races each record's delivery to its agent against the suspension of the flow: two tasks and a wait, a
        third of the CPU that a record costs it, for a delivery that only waits when the agent's buffer is full.
        """
        first, *others = coros
        if timeout is None and others and asyncio.iscoroutine(first):
            try:
                blocker = first.send(None)
            except StopIteration:
                for other in others:
                    other.close()
                return None
            first = _rest(first, blocker)
        return await super().wait_first(first, *others, timeout=timeout)

    def hold(self, tp: TP) -> None:
        """Fetch no more of a partition; what was fetched is still handed to its agent."""
        self._held.add(tp)
        self.on_buffer_full(tp)

    def release(self, tp: TP) -> None:
        """Fetch a held partition again."""
        self._held.discard(tp)
        self.on_buffer_drop(tp)
        self._thread.wake()

    def release_all(self, tps: Iterable[TP]) -> None:
        """Forget holds of partitions that are taken away or newly given."""
        self._held.difference_update(tps)
        self._buffered_partitions.difference_update(tps)

    async def lags(self) -> dict[TP, int]:
        """Records of each assigned partition that are not committed: its end, asked of the broker, less the commit."""
        assigned = self.assignment()
        if not assigned:
            return {}
        ends = await self.highwaters(*assigned)
        return {TP(*tp): max(0, end - (self._committed_offset[TP(*tp)] or 0)) for tp, end in ends.items()}

    def on_buffer_drop(self, tp: TP) -> None:
        """An agent's buffer has room again; a held partition stays held."""
        if tp not in self._held:
            super().on_buffer_drop(tp)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust takes held and idle partitions for hanging ones."""


async def _rest(begun: Any, blocker: Any) -> Any:
    """The rest of a coroutine that was begun by hand and waits for `blocker`."""
    return await _resumed(begun, blocker)


@types.coroutine
def _resumed(begun: Any, blocker: Any) -> Generator[Any, Any, Any]:
    while True:
        try:
            value = yield blocker
        except BaseException as error:
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, value)
        try:
            blocker = step()
        except StopIteration as end:
            return end.value


class LaneTransport(driver.Transport):
    """The transport of a `LaneApp`."""

    Consumer: ClassVar[type[LaneConsumer]] = LaneConsumer
    make_consumer: MakeConsumer


class _ConsumeOnly(BootStrategy):
    enable_kafka_producer = False
    enable_web = False


class LaneApp(faust.App):
    """A Faust app that only consumes, and leaves no folders behind. Outputs go through the outbox."""

    BootStrategy = _ConsumeOnly

    def _create_directories(self) -> None:
        """No tables, no folders."""

    def on_init_dependencies(self) -> Iterable[Any]:
        """As Faust's, without its monitor: nobody reads that, and it is a tenth of what a record costs here."""
        services: Iterable[Any] = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        return services

    def use(self, make_consumer: MakeConsumer) -> None:
        """Consume with clients made by `make_consumer`; before the app is started."""
        transport = LaneTransport(self.conf.broker_consumer, self)
        transport.make_consumer = make_consumer
        self.transport = transport

    @property
    def lane_consumer(self) -> Any:
        """The app's consumer, a `LaneConsumer`."""
        return self.consumer
