"""The topics that are recorded, and how a record of each becomes rows. Pure.

Every row carries the partition and offset of its record, and the tables are their own offset store; so the partitions
of all topics are numbered in one sequence, `kp`, in which each topic has a range of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from aiokafka import TopicPartition

from sinks.recorder.blocks import Message
from sinks.recorder.columns import message_of
from topics import names
from topics.codec import decode_feedback
from topics.trace import batch_of
from topics.trace_rows import FeedbackRow

FEEDBACK_KP: Final = 1 << 15
"""Where the numbers of the feedback topic's partitions begin; `kp` has 16 bits."""

MessageOf = Callable[[Any, int], Message | None]
"""The rows of a record whose partition has number `kp`; None if it has none.

Raises:
    CodecError: the record is not one of this topic.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One topic that is recorded.

    Attributes:
        topic: its name.
        first_kp: number of its partition 0.
        is_optional: whether to wait for it where it does not exist: clusters of an older release lack it.
    """

    topic: str
    first_kp: int
    message_of: MessageOf
    is_optional: bool = False

    def at(self, kp: int) -> TopicPartition:
        """The partition with a number."""
        return TopicPartition(self.topic, kp - self.first_kp)

    def kp(self, partition: int) -> int:
        """The number of a partition."""
        return self.first_kp + partition


def trace_log(topic: str = names.TRACE) -> Log:
    """The account's rows as processes send them: Arrow batches."""
    return Log(topic=topic, first_kp=0, message_of=_rows)


def feedback_log(topic: str = names.FEEDBACK) -> Log:
    """What clients say about answers: a record each."""
    return Log(topic=topic, first_kp=FEEDBACK_KP, message_of=_feedback, is_optional=True)


def _rows(record: Any, kp: int) -> Message | None:
    return message_of(record.value, list(record.headers), kp=kp, ko=record.offset, log_ts_ms=record.timestamp)


def _feedback(record: Any, kp: int) -> Message | None:
    said = decode_feedback(record.value or b"")
    row = FeedbackRow(
        ts=record.timestamp * 1000,
        request_id=said.id,
        signal=said.signal,
        score=math.nan if said.score is None else said.score,
        label=said.label,
        source=said.source,
        tenant=said.tenant,
        model=said.model,
    )
    rows = pa.Table.from_batches([batch_of("feedback", [row])])
    return Message(table="feedback", kp=kp, ko=record.offset, log_ts_ms=max(record.timestamp, 0), rows=rows)
