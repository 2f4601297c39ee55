"""Getting trace rows to `inference.trace`: bounded, in order, never dropped.

Rows are part of the durability chain. Each `add` returns a mark; when `delivered` has reached it, the broker has
acknowledged the row, and what depends on it may be acknowledged too. While the broker does not take them, rows pile up
to a bound and then `wait_room` holds whoever asks.
"""

import asyncio
import contextlib
import logging
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from topics import names
from topics.headers import TABLE
from topics.trace import Row, TraceBuffer, TraceMessage

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 0.1
"""How long a row waits for company. One message of 500 rows costs the recorder an eighth of 500 messages."""
MAX_PENDING: Final = 50_000
RETRY_S: Final = 0.5


class TraceShipper:
    """Ships rows in the background.

    Args:
        producer: idempotent, started, for nothing but the trace: bulk must not hold up tokens.
        process: key of the messages, so that one process stays on one partition and its rows in order.
    """

    def __init__(self, producer: AIOKafkaProducer, *, process: str, topic: str = names.TRACE) -> None:
        self._producer = producer
        self._key = process.encode()
        self._topic = topic
        self._buffer = TraceBuffer()
        self._added = 0
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        """Highest mark that the broker has acknowledged, with all before it."""

    def add(self, row: Row) -> int:
        """Keep a row for shipping and return its mark. Never blocks; ask `wait_room` where rows are made in bulk."""
        self._buffer.add(row)
        self._added += 1
        return self._added

    @property
    def mark(self) -> int:
        """Mark of the newest row."""
        return self._added

    async def start(self) -> None:
        """Ship in the background from now on."""
        self._task = asyncio.create_task(self._run(), name="trace shipper")

    async def stop(self) -> None:
        """Ship what is left and stop. The producer is the caller's to stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._ship()

    async def wait_delivered(self, mark: int) -> None:
        """Return when every row up to `mark` is acknowledged."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.delivered >= mark)

    async def wait_room(self) -> None:
        """Return when fewer than `MAX_PENDING` rows wait for the broker."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._added - self.delivered < MAX_PENDING)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self._buffer.pending:
                await self._shielded_ship()

    async def _shielded_ship(self) -> None:
        """A shipment that was begun is finished, also when the shipper is told to stop in the middle of it."""
        shipment = asyncio.ensure_future(self._ship())
        try:
            await asyncio.shield(shipment)
        except asyncio.CancelledError:
            await shipment
            raise

    async def _ship(self) -> None:
        mark = self._added
        for message in self._buffer.drain():
            await self._send(message)
        async with self._changed:
            self.delivered = mark
            self._changed.notify_all()

    async def _send(self, message: TraceMessage) -> None:
        """Send until the broker has it: a row that was added is delivered or the process dies first."""
        headers = [(TABLE, message.table.encode())]
        while True:
            try:
                await self._producer.send_and_wait(self._topic, message.value, key=self._key, headers=headers)
            except KafkaError as error:
                logger.warning("trace of %s rows not taken: %r; trying again", message.rows, error)
                await asyncio.sleep(RETRY_S)
            else:
                return
