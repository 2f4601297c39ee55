"""Sends what the core wants published, batch by batch, and reports what the broker made of it.

One task for all records; it waits for no acknowledgement. A batch is built the moment its partition is free, so under
load many engine steps share one and without load a record leaves at once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.runtime.producers import renew_identity
from pipeline.worker.effects import Send
from pipeline.worker.outbox import Outbox, Parcel, Partition, last_refs

logger = logging.getLogger(__name__)

_NO_HEADERS: Final[list[tuple[str, bytes]]] = []

OnRefs = Callable[[list[str]], None]


class Publisher:
    """The way out for answers, returns and dead letters.

    Args:
        producer: idempotent, started, for nothing else.
        on_delivered: called with the refs whose last record is acknowledged, in order.
        on_undelivered: called with the refs of which a record was refused.
    """

    def __init__(self, producer: AIOKafkaProducer, *, on_delivered: OnRefs, on_undelivered: OnRefs) -> None:
        self._producer = producer
        self._outbox = Outbox()
        self._on_delivered = on_delivered
        self._on_undelivered = on_undelivered
        self._woken = asyncio.Event()

    def add(self, send: Send) -> None:
        """Queue a record; `wake` when a group of them is complete."""
        self._outbox.add(send)

    def wake(self) -> None:
        """Records were added."""
        self._woken.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            for destination, queue in self._outbox.ready():
                await self._send(destination, queue)

    async def _send(self, destination: Partition, queue: deque[Parcel]) -> None:
        batch = self._producer.create_batch()
        now_ms = time.time_ns() // 1_000_000
        sent: list[Send] = []
        while queue:
            parcel = queue[0]
            send = parcel.send
            headers = list(send.headers) if send.headers else _NO_HEADERS
            if batch.append(timestamp=now_ms, key=send.key, value=parcel.value, headers=headers) is None:
                break
            sent.append(send)
            queue.popleft()
        topic, partition = destination
        try:
            future = await self._producer.send_batch(batch, topic, partition=partition)
        except (KafkaError, AssertionError) as error:  # aiokafka asserts that the partition exists
            self._refused(destination, sent, error)
        else:
            future.add_done_callback(partial(self._on_done, destination, sent))

    def _on_done(self, destination: Partition, sent: list[Send], future: "asyncio.Future[object]") -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is not None:
            # The batch's sequence numbers are spent, and the broker would refuse whatever follows them.
            renew_identity(self._producer)
            self._refused(destination, sent, error)
            return
        if self._outbox.settle(destination):
            self._woken.set()
        refs = last_refs(sent)
        if refs:
            self._on_delivered(refs)

    def _refused(self, destination: Partition, sent: list[Send], error: BaseException) -> None:
        refs = list(dict.fromkeys(send.ref for send in sent))
        logger.warning("%s records for %s/%s were refused: %r", len(sent), *destination, error)
        self._outbox.drop(destination, set(refs))
        if self._outbox.settle(destination):
            self._woken.set()
        self._on_undelivered(refs)
