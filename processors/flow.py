"""Faust's Kafka transport with three things that it lacks: options of the client, holding a partition, quick waking.

Faust makes its consumer in a thread of its own from its own settings. Here the client is made by whoever knows the
cluster. Pausing with Faust's `pause_partitions` throws away what was fetched of the partition and not yet handed to its
agent, and commits past it; `hold` stops fetching and lets what was fetched through.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

import faust
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from faust.app.base import BootStrategy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

PREFETCH_BACKOFF_S: Final = 0.005
"""How long unread records of one partition delay the others of the same consumer; 0.1 s in aiokafka."""

MakeConsumer = Callable[[AbstractPartitionAssignor], AIOKafkaConsumer]
"""Makes the client of the group, not started, for the running loop; partitions are assigned by the given assignor."""


class LaneConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs the client in its thread: heartbeats to the group go on while the main loop is busy."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        assert isinstance(transport, LaneTransport)
        self._assignor = self.app.assignor
        return transport.make_consumer(self._assignor)

    async def on_start(self) -> None:
        await super().on_start()
        self._ensure_consumer()._fetcher._prefetch_backoff = PREFETCH_BACKOFF_S

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        """What was fetched, a few records at a time, and the partition that was served goes to the end of the line.

        A broker never splits a batch, so one fetch of a lane may hold thousands of records; in their order of arrival
        they would all come before those of the other lanes.
        """
        found = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        waiting = consumer._fetcher._records
        for tp in found:
            if tp in waiting:
                waiting[tp] = waiting.pop(tp)
        return found

    def wake(self) -> None:
        """Let a fetch that waits for records look again: a partition that was held may have some."""
        self.thread_loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        fetcher = self._ensure_consumer()._fetcher
        for waiter in list(fetcher._fetch_waiters):
            fetcher._notify(waiter)


class LaneConsumer(driver.Consumer):
    """A consumer whose partitions can be held."""

    _thread: LaneConsumerThread

    def _new_consumer_thread(self) -> LaneConsumerThread:
        self._held: set[TP] = set()
        return LaneConsumerThread(self, loop=self.loop, thread_loop=uvloop.new_event_loop(), beacon=self.beacon)

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

    def on_buffer_drop(self, tp: TP) -> None:
        """An agent's buffer has room again; a held partition stays held."""
        if tp not in self._held:
            super().on_buffer_drop(tp)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust takes held and idle partitions for hanging ones."""


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

    def use(self, make_consumer: MakeConsumer) -> None:
        """Consume with clients made by `make_consumer`; before the app is started."""
        transport = LaneTransport(self.conf.broker_consumer, self)
        transport.make_consumer = make_consumer
        self.transport = transport

    @property
    def lane_consumer(self) -> Any:
        """The app's consumer, a `LaneConsumer`."""
        return self.consumer
