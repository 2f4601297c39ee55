"""What cannot be recorded goes to the dead letters, with its original bytes and headers and the reason.

A record that fills a message by itself has no room for the reason: of it go only the first bytes.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from topics.headers import Headers, dead_letter

logger = logging.getLogger(__name__)

STAGE: Final = "recorder"
RETRY_S: Final = 0.5
KEPT_BYTES: Final = 64 * 1024
"""How much of a value is kept when the broker refuses the whole for its size."""
TRUNCATED: Final = "__dlq.errors.truncated"
"""Header of a dead letter that holds not all of the original: the bytes that its value had."""


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
        self.codes: Counter[str] = Counter()
        """The same, by the code of the reason."""

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
        letters = _letters(record, code=code, message=message)
        letter = next(letters)
        while (error := await self._refused(letter)) is not None:
            is_too_large = isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError)
            shorter = next(letters, None) if is_too_large else None
            if shorter is not None:
                letter = shorter
                continue
            logger.warning("dead letter not taken: %r; trying again", error)
            await asyncio.sleep(RETRY_S)
        self.sent += 1
        self.codes[code] += 1

    async def _refused(self, letter: "_Letter") -> KafkaError | None:
        try:
            await self._producer.send_and_wait(self._topic, letter.value, key=letter.key, headers=letter.headers)
        except KafkaError as error:
            return error
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    key: bytes | None
    value: bytes | None
    headers: Headers


def _letters(record: ConsumerRecord[Any, Any], *, code: str, message: str) -> Iterator[_Letter]:
    """The whole record; then the beginning of its value; then that without the original key and headers."""

    def headers(original: Iterable[tuple[str, bytes]]) -> Headers:
        return dead_letter(
            original,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage=STAGE,
            code=code,
            message=message,
        )

    value = record.value or b""
    truncated = (TRUNCATED, str(len(value)).encode())
    yield _Letter(key=record.key, value=record.value, headers=headers(record.headers))
    yield _Letter(key=record.key, value=value[:KEPT_BYTES], headers=[*headers(record.headers), truncated])
    yield _Letter(key=None, value=value[:KEPT_BYTES], headers=[*headers(()), truncated])
