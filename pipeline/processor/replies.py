"""Which response topics exist, kept up to date: replies may go to these and no others."""

import asyncio
import contextlib
import logging
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from topics import names
from topics.errors import TransportError

logger = logging.getLogger(__name__)

REFRESH_S: Final = 10.0


class ReplyTopics:
    """Partition counts of the response topics, in `counts`, which changes in place."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._task: asyncio.Task[None] | None = None
        self.counts: dict[str, int] = {}

    async def start(self) -> None:
        """Look, and look again now and then from now on.

        Raises:
            TransportError: the common response topic does not exist.
        """
        await self._look()
        if names.RESPONSES not in self.counts:
            raise TransportError(f"topic {names.RESPONSES} does not exist; make it with `millrace topics create`")
        self._task = asyncio.create_task(self._run(), name="reply topics")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self._look()
            except KafkaError as error:
                logger.debug("response topics could not be listed: %r", error)

    async def _look(self) -> None:
        cluster = await self._producer.client.fetch_all_metadata()
        found = {
            name: cluster.partitions_for_topic(name) for name in cluster.topics() if names.is_responses_topic(name)
        }
        self.counts.update({name: len(partitions) for name, partitions in found.items() if partitions})
