"""A dead letter is written whatever its size: whole if it can be, else its beginning."""

from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from sinks.recorder import deadletters
from sinks.recorder.deadletters import KEPT_BYTES, TRUNCATED, DeadLetters
from topics.headers import Headers, header

LIMIT_BYTES = 100_000


class Broker:
    """Takes what is not too large, after some outages."""

    def __init__(self, *, outages: int = 0) -> None:
        self.taken: list[tuple[bytes | None, bytes, Headers]] = []
        self._outages = outages

    async def send_and_wait(self, _topic: str, value: bytes, *, key: bytes | None, headers: Headers) -> None:
        if self._outages:
            self._outages -= 1
            raise KafkaConnectionError
        size = len(value) + len(key or b"") + sum(len(name) + len(content) for name, content in headers)
        if size > LIMIT_BYTES:
            raise MessageSizeTooLargeError
        self.taken.append((key, value, headers))


def a_record(value: bytes, *, headers: Headers | None = None) -> ConsumerRecord[Any, Any]:
    return ConsumerRecord(
        topic="inference.trace",
        partition=2,
        offset=7,
        timestamp=0,
        timestamp_type=0,
        key=b"k",
        value=value,
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=len(value),
        headers=tuple(headers or [("table", b"events")]),
    )


async def sent(broker: Broker, record: ConsumerRecord[Any, Any]) -> tuple[bytes | None, bytes, Headers]:
    letters = DeadLetters(broker, topic="dead")
    await letters.send(record, code="undecodable", message="no Arrow stream")
    assert letters.sent == 1
    (letter,) = broker.taken
    return letter


async def test_a_record_goes_whole_through_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadletters, "RETRY_S", 0)
    key, value, headers = await sent(Broker(outages=2), a_record(b"v"))
    assert (key, value, header(headers, "table")) == (b"k", b"v", b"events")
    assert header(headers, TRUNCATED) is None


async def test_of_a_value_that_is_too_large_the_beginning_is_kept() -> None:
    key, value, headers = await sent(Broker(), a_record(b"v" * LIMIT_BYTES))
    assert (key, len(value), header(headers, "table")) == (b"k", KEPT_BYTES, b"events")
    assert header(headers, TRUNCATED) == str(LIMIT_BYTES).encode()
    assert header(headers, "__dlq.errors.offset") == b"7"


async def test_headers_that_are_too_large_are_left_out() -> None:
    key, value, headers = await sent(Broker(), a_record(b"v", headers=[("huge", b"h" * LIMIT_BYTES)]))
    assert (key, value, header(headers, "huge")) == (None, b"v", None)
    assert header(headers, TRUNCATED) == b"1"
