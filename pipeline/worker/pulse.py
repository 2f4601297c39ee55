"""Sends heartbeats and the once-a-second row of engine steps, from the moment the process starts."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from aiokafka import AIOKafkaProducer

from pipeline.engines.protocol import StepCounts
from pipeline.worker.heartbeats import Condition, Heart, StepSum
from topics.codec import encode

logger = logging.getLogger(__name__)

IN_FLIGHT: Final = 4
"""Heartbeats that the broker has not taken yet, at most: while it is away the next one is not made, and not old."""


class Patient(Protocol):
    """Who the heartbeats are about."""

    @property
    def changes(self) -> int:
        """Grows whenever a heartbeat would say something else."""
        ...

    def condition(self) -> Condition:
        """Its state, and what happened since the call before."""
        ...

    def on_steps(self, counts: StepCounts, interval_us: int) -> None:
        """Engine steps of about a second."""
        ...


class Pulse:
    """Heartbeats of one worker.

    Args:
        producer: started; shared with nothing that could hold heartbeats up.
        topic: heartbeats of the model's workers.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        topic: str,
        worker: str,
        heart: Heart,
        patient: Patient,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._key = worker.encode()
        self._heart = heart
        self._patient = patient
        self._now_s = now_s
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        self._told = -1
        self._steps = StepSum(now_s())
        self._sent: asyncio.Future[object] | None = None
        self._in_flight = 0

    def hurry(self) -> None:
        """Something has happened that others wait for: the next heartbeat goes out at once."""
        self._urgent.set()
        self._changed.set()

    def wake(self) -> None:
        """Something may have changed."""
        if self._patient.changes != self._told:
            self._changed.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self._wait_for(self._changed, self._heart.due_at_s(has_changed=False))
            await self._wait_for(self._urgent, self._heart.due_at_s(has_changed=True))
            await self._wait_until(self._heart.due_at_s(has_changed=True, is_urgent=True))
            if self._in_flight >= IN_FLIGHT and self._sent is not None:
                await asyncio.wait([self._sent])
            await self.beat()

    async def beat(self) -> None:
        """Send one heartbeat now."""
        self._changed.clear()
        self._urgent.clear()
        self._told = self._patient.changes
        now_s = self._now_s()
        condition = self._patient.condition()
        second = self._steps.add(condition.steps, now_s)
        if second is not None:
            self._patient.on_steps(*second)
        beat = self._heart.beat(condition, now_s=now_s, at_ms=time.time_ns() // 1_000_000)
        self._sent = await self._producer.send(self._topic, encode(beat), key=self._key, partition=0)
        self._in_flight += 1
        self._sent.add_done_callback(self._arrived)

    async def _wait_for(self, event: asyncio.Event, at_s: float) -> None:
        """Until the event, at most until `at_s`."""
        timeout_s = at_s - self._now_s()
        if timeout_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):  # `wait_for` swallows a cancellation that meets the event
                    await event.wait()

    def _arrived(self, sent: "asyncio.Future[object]") -> None:
        self._in_flight -= 1
        if not sent.cancelled() and sent.exception() is not None:
            logger.warning("a heartbeat was not taken: %r", sent.exception())

    async def _wait_until(self, at_s: float) -> None:
        delay_s = at_s - self._now_s()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
