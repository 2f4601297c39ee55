"""Getting outputs to the broker: in order, at least once, and retried for as long as it takes.

One task hands records to one idempotent producer, so that records of a partition keep their order. What a record
settles is reported when the broker has acknowledged it, and not before. It is bounded by what its owner takes in: the
lanes are paused long before it grows large.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError
from msgspec import Struct

from processors.events import Address
from topics.headers import Headers

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5


class Producer(Protocol):
    """What is needed of aiokafka's producer: idempotent, `acks=all`, started."""

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> "asyncio.Future[Any]":
        """Queue a record; the future is done when the broker has acknowledged it."""
        ...


class Output(Struct, kw_only=True, frozen=True):
    """A record to be written. `settles` is the input that it answers for, if it is the last output of that input."""

    topic: str
    value: bytes | None
    key: bytes | None
    partition: int | None = None
    headers: Headers = []
    settles: Address | None = None


class Outbox:
    """Sends what is put into it.

    Args:
        producer: not used by anyone whose records may hold up these.
        on_delivered: called on the event loop with what a delivered record settles.
    """

    def __init__(self, producer: Producer, on_delivered: Callable[[Address], None]) -> None:
        self._producer = producer
        self._on_delivered = on_delivered
        self._waiting: deque[Output] = deque()
        self._flying = 0
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_troubled = False
        self._task: asyncio.Task[None] | None = None

    def put(self, output: Output) -> None:
        """Send a record, after all that were put before it."""
        self._waiting.append(output)
        self._idle.clear()
        self._changed.set()

    async def start(self) -> None:
        """Send in the background from now on."""
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def flush(self) -> None:
        """Return when everything that was put is acknowledged by the broker."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Stop sending; what is not acknowledged then is not settled."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._waiting:
                await self._send(self._waiting.popleft())

    async def _send(self, output: Output) -> None:
        self._flying += 1
        while True:
            try:
                future = await self._producer.send(
                    output.topic, output.value, output.key, output.partition, headers=output.headers
                )
            except KafkaError as error:
                self._trouble(output, error)
                await asyncio.sleep(RETRY_S)
            else:
                future.add_done_callback(lambda done: self._on_done(output, done))
                return

    def _on_done(self, output: Output, done: "asyncio.Future[Any]") -> None:
        self._flying -= 1
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self._trouble(output, error)
            self._waiting.appendleft(output)
            self._changed.set()
            return
        if self._is_troubled:
            self._is_troubled = False
            logger.info("the broker takes records again; %d wait", len(self._waiting) + self._flying)
        if output.settles is not None:
            self._on_delivered(output.settles)
        if not self._waiting and not self._flying:
            self._idle.set()

    def _trouble(self, output: Output, error: BaseException) -> None:
        if not self._is_troubled:
            self._is_troubled = True
            logger.warning("the broker does not take a record for %s: %r; trying until it does", output.topic, error)
