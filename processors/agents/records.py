"""Faust's events as records of ours."""

from typing import Any

from processors.events import Address
from processors.shard import LaneRecord


def lane_record(event: Any) -> LaneRecord:
    """The record of an event of a `noack()` stream; `timestamp_ms` is the broker's."""
    message = event.message
    return LaneRecord(
        at=Address(message.topic, message.partition, message.offset),
        timestamp_ms=round((message.timestamp or 0.0) * 1000),
        key=message.key,
        value=message.value,
        headers=list(message.headers or ()),
        ack=event.ack,
    )
