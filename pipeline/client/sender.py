"""Writing records and knowing that the broker has them."""

import asyncio
import contextlib
import logging
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics.errors import TransportError
from topics.headers import Headers

logger = logging.getLogger(__name__)

STOP_S: Final = 5.0
"""For records that are still to be delivered when it stops."""


class Sender:
    """One idempotent producer, replaced when the broker has refused it for good."""

    def __init__(self, settings: KafkaSettings, *, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError: the broker cannot be reached.
        """
        self._producer = await self._started()

    async def stop(self) -> None:
        """Disconnect; what the broker does not take within 5 s is given up. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def send(self, topic: str, request_id: str, value: bytes, headers: Headers | None = None) -> Any:
        """Write a record keyed by the id, so that requests of one id share a partition, and wait until it is there.

        Returns:
            The broker's address of it: `topic`, `partition`, `offset`.

        Raises:
            TransportError: the broker refused it.
        """
        try:
            producer = await self._working_producer()
            return await producer.send_and_wait(topic, value, key=request_id.encode(), headers=headers)
        except KafkaError as error:
            raise TransportError(f"request {request_id} could not be written to {topic}: {error!r}") from error

    async def _started(self) -> AIOKafkaProducer:
        producer = kafka.producer(self._settings, client_id=self._client_id)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _working_producer(self) -> AIOKafkaProducer:
        if _is_broken(self._producer):
            async with self._replacing:
                if _is_broken(self._producer):
                    await self._replace()
        if self._producer is None:
            raise TransportError("the client is not open; use it as a context or call open() first")
        return self._producer

    async def _replace(self) -> None:
        logger.warning("the producer of %s has failed and is replaced", self._client_id)
        producer = await self._started()
        broken, self._producer = self._producer, producer if self._producer is not None else None
        await _stop(broken if broken is not None else producer)  # without a broken one it was stopped meanwhile


def _is_broken(producer: AIOKafkaProducer | None) -> bool:
    """Whether its background task has ended: after that it takes no record (an error of its sequence numbers)."""
    if producer is None:
        return False
    task = producer._sender.sender_task
    return task is not None and task.done()


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(STOP_S):
            await producer.stop()
    except TimeoutError:
        logger.warning("the broker did not take the last records within %g s; they are given up", STOP_S)
        await producer._sender.close()
        await producer.client.close()
    except KafkaError as error:
        logger.debug("stopping a failed producer: %r", error)
        with contextlib.suppress(KafkaError):
            await producer.client.close()
