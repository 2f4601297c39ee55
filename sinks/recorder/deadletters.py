"""What cannot be recorded goes to the dead letters, with its original bytes and headers and the reason."""

import asyncio
import logging
from typing import Any, Final

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from topics.headers import dead_letter

logger = logging.getLogger(__name__)

STAGE: Final = "recorder"
RETRY_S: Final = 0.5


class DeadLetters:
    """Writes dead letters and waits for the broker to have them.

    Args:
        producer: idempotent, started.
        topic: the dead letters' topic.
    """

    def __init__(self, producer: AIOKafkaProducer, *, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._records: dict[tuple[int, int], ConsumerRecord[Any, Any]] = {}
        self.sent = 0
        """Dead letters since the start."""

    def remember(self, record: ConsumerRecord[Any, Any]) -> None:
        """Keep a record until its rows are stored: its bytes are needed if they cannot be."""
        self._records[record.partition, record.offset] = record

    def forget(self) -> None:
        """What was remembered is stored."""
        self._records.clear()

    async def send_remembered(self, kp: int, ko: int, *, code: str, message: str) -> None:
        """A remembered record cannot be stored."""
        await self.send(self._records[kp, ko], code=code, message=message)

    async def send(self, record: ConsumerRecord[Any, Any], *, code: str, message: str) -> None:
        """Write a dead letter; returns when the broker has it, however long that takes."""
        logger.warning("%s/%s/%s to the dead letters: %s", record.topic, record.partition, record.offset, message)
        headers = dead_letter(
            record.headers,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage=STAGE,
            code=code,
            message=message,
        )
        while True:
            try:
                await self._producer.send_and_wait(self._topic, record.value, key=record.key, headers=headers)
                break
            except KafkaError as error:
                logger.warning("dead letter not taken: %r; trying again", error)
                await asyncio.sleep(RETRY_S)
        self.sent += 1
