"""Tells how the lanes do, about every second: records among the heartbeats of the model's workers.

They are for people, and for the other shards of the model: these learn from them who waits for a turn.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError

from pipeline.runtime.logs import Seldom
from topics import names
from topics.codec import encode
from topics.fleet import LaneReport

logger = logging.getLogger(__name__)

EVERY_S: Final = 1.0


class Producer(Protocol):
    """What is needed of aiokafka's producer."""

    async def send(self, topic: str, value: bytes, *, key: bytes, partition: int) -> "asyncio.Future[Any]":
        """Queue a record; the future is done when the broker has it."""
        ...


class LaneReporter:
    """Sends what there is to say, and says nothing while the broker has not taken what was said before.

    Args:
        producer: started.
        reports: the present figures of each owned shard.
        now_s: a monotonic clock.
    """

    def __init__(
        self, producer: Producer, reports: Callable[[], Iterable[LaneReport]], *, now_s: Callable[[], float]
    ) -> None:
        self._producer = producer
        self._reports = reports
        self._now_s = now_s
        self._complaints = Seldom()
        self._sent: list[asyncio.Future[Any]] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Report in the background until stopped."""
        self._task = asyncio.create_task(self._run(), name="lane reports")

    async def stop(self) -> None:
        """Report no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def report(self) -> None:
        """Send one record for each shard, unless one of those before is still on its way."""
        if any(not sent.done() for sent in self._sent):
            return
        self._sent = []
        for report in self._reports():
            topic, key = names.workers_topic(report.model), f"{report.processor}/{report.shard}"
            sent = await self._producer.send(topic, encode(report), key=key.encode(), partition=0)
            sent.add_done_callback(self._noticed)
            self._sent.append(sent)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.report()
            except Exception as error:  # requests are served without figures, too: say it and go on
                self._complain(error)

    def _noticed(self, sent: "asyncio.Future[Any]") -> None:
        if not sent.cancelled() and sent.exception() is not None:
            self._complain(sent.exception())

    def _complain(self, error: BaseException | None) -> None:
        if self._complaints.due(self._now_s()) is not None:
            fault = None if isinstance(error, KafkaError) else error
            logger.warning("figures of lanes were not told: %r", error, exc_info=fault)
