"""Getting trace rows to `inference.trace`: bounded, in order, never dropped.

Rows are part of the durability chain. Each `add` returns a mark; when `delivered` has reached it, the broker has
acknowledged the row, and what depends on it may be acknowledged too. While the broker does not take them, rows pile up
to a bound that their makers keep: a worker pauses its slots (`worker.commits`), a processor its lanes
(`processors.shards`). Only a row that no column or no message can hold is given up, with an error in the log: it would
hold up all others for ever.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from pipeline.runtime.logs import Seldom
from pipeline.runtime.packing import halves, pack
from pipeline.runtime.producers import is_identity_lost, renew_identity
from topics import names
from topics.errors import TransportError
from topics.headers import TABLE
from topics.trace import TraceMessage
from topics.trace_rows import Row, TextRow

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 0.25
"""How long a row waits for company. One message of 500 rows costs the recorder an eighth of 500 messages."""
ROW_CHARS: Final = 1024
"""A row with prompt and answer counts as a row more for each so many characters."""
CHUNK_ROWS: Final = 2000
"""Rows that are encoded at once: 3 ms of the event loop. A backlog of an outage is shipped in such pieces."""
RETRY_S: Final = 0.5
STOP_WITHIN_S: Final = 5.0


class TraceShipper:
    """Ships rows in the background. To be used from one event loop.

    Args:
        producer: idempotent, started, for nothing but the trace: bulk must not hold up tokens.
        process: key of the messages, so that one process stays on one partition and its rows in order.
        on_delivered: called with rows that the broker has; they may be a chunk of `CHUNK_ROWS`.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        process: str,
        topic: str = names.TRACE,
        on_delivered: Callable[[Sequence[Row]], None] | None = None,
    ) -> None:
        self._producer = producer
        self._on_delivered = on_delivered
        self._key = process.encode()
        self._topic = topic
        self._rows: deque[Row] = deque()
        self._added = 0
        self._has_rows = asyncio.Event()
        self._stopping = asyncio.Event()
        self._progress = asyncio.Event()
        self._trouble = Seldom()
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        """Highest mark that the broker has acknowledged, with all before it."""
        self.given_up = 0
        """Rows that could not be written in any way."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets a `TransportError` when nothing is shipped any more: whoever watches it ends the process."""

    def add(self, row: Row) -> int:
        """Keep a row for shipping and return its mark. Never blocks."""
        self._rows.append(row)
        self._has_rows.set()
        self._added += _weight(row)
        return self._added

    @property
    def mark(self) -> int:
        """Mark of the newest row."""
        return self._added

    async def start(self) -> None:
        """Ship in the background from now on."""
        self._task = self._begin()

    async def stop(self, *, within_s: float = STOP_WITHIN_S) -> None:
        """Ship what is left and stop, in `within_s` seconds at most. The producer is the caller's to stop. Idempotent.

        Nothing may be added afterwards. Rows that the broker did not take by then stay undelivered: what waits for
        them is not acknowledged either, and is done again by whoever comes next. A fault is told by `failed` alone.
        """
        self._stopping.set()
        self._has_rows.set()
        task = self._task = self._task or self._begin()
        await asyncio.wait([task], timeout=within_s)
        if not task.done():
            logger.warning("%s trace rows stay undelivered after %g s", self._added - self.delivered, within_s)
            task.cancel()
            await asyncio.wait([task])

    async def wait_delivered(self, mark: int) -> None:
        """Return when every row up to `mark` is acknowledged."""
        while self.delivered < mark:
            await self._progress.wait()

    def _begin(self) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._run(), name="trace shipper")
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is None or self.failed.done():
            return
        logger.critical("the trace is no longer shipped, and nothing more is acknowledged", exc_info=error)
        failure = TransportError(f"the trace is no longer shipped to {self._topic}: {error!r}; start the process again")
        failure.__cause__ = error
        self.failed.set_exception(failure)
        self.failed.exception()  # It is logged: a process that ends without asking needs no second complaint.

    async def _run(self) -> None:
        while self._rows or not self._stopping.is_set():
            await self._has_rows.wait()
            if len(self._rows) < CHUNK_ROWS:
                await self._wait_for_company()
            await self._ship(self._take())

    async def _wait_for_company(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), INTERVAL_S)

    def _take(self) -> list[Row]:
        rows = [self._rows.popleft() for _ in range(min(CHUNK_ROWS, len(self._rows)))]
        if not self._rows and not self._stopping.is_set():
            self._has_rows.clear()
        return rows

    async def _ship(self, rows: list[Row]) -> None:
        packed = pack(rows)
        if packed.unfit:
            self._give_up(packed.unfit, packed.reason)
        messages = await self._send(packed.messages)
        while messages:
            await asyncio.sleep(RETRY_S)
            messages = await self._send(messages)
        self._trouble.reset()
        self.delivered += sum(map(_weight, rows))
        self._progress.set()
        self._progress = asyncio.Event()
        if self._on_delivered is not None:
            self._on_delivered(rows)

    async def _send(self, messages: list[TraceMessage]) -> list[TraceMessage]:
        """Hand all to the producer in order, then wait for the broker; returns what has to be sent again."""
        sent: list[tuple[TraceMessage, asyncio.Future[object]]] = []
        again: list[TraceMessage] = []
        for message in messages:
            headers = [(TABLE, message.table.encode())]
            try:
                future = await self._producer.send(self._topic, message.value, key=self._key, headers=headers)
            except KafkaError as error:
                again += self._after(error, message)
            else:
                sent.append((message, future))
        for message, future in sent:
            try:
                await future
            except KafkaError as error:
                again += self._after(error, message)
        return again

    def _after(self, error: KafkaError, message: TraceMessage) -> list[TraceMessage]:
        """What to send in place of a message that was refused. An outage refuses nothing: the producer keeps trying."""
        if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            if message.rows == 1:
                self._give_up(1, f"{message.table}: {len(message.value)} bytes are too large for {self._topic}")
            return halves(message)
        if is_identity_lost(error):
            renew_identity(self._producer)
        if (held_back := self._trouble.due(asyncio.get_running_loop().time())) is not None:
            logger.error(
                "trace not taken by %s: %r; %s rows wait, trying again every %g s (%s more such errors before)",
                self._topic,
                error,
                self._added - self.delivered,
                RETRY_S,
                held_back,
            )
        return [message]

    def _give_up(self, rows: int, reason: str) -> None:
        self.given_up += rows
        logger.error("%s trace rows cannot be written and are given up: %s", rows, reason)


class Untraced(TraceShipper):
    """Drops rows and calls them delivered: what a process costs without the trace is what it costs with this."""

    def add(self, row: Row) -> int:
        """Forget a row and return its mark."""
        self._added += 1
        self.delivered = self._added
        return self._added


def _weight(row: Row) -> int:
    """How many rows it counts as."""
    return 1 + (len(row.prompt) + len(row.answer)) // ROW_CHARS if type(row) is TextRow else 1
