"""The outbox: order, what is tried again, what is not, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
)

from processors.delivery import Settlement
from processors.events import Address
from processors.outbox import Outbox
from processors.output import KEPT_BYTES, TRUNCATED, Output
from tests.eventually import eventually
from topics import names
from topics.headers import Headers, header
from topics.trace_rows import Row

WITHIN_S = 5


class Sent:
    """A record that the producer was given, and the try's number among all."""

    def __init__(self, topic: str, value: bytes | None, key: bytes | None, partition: int | None, headers: Headers):
        self.topic, self.value, self.key, self.partition, self.headers = topic, value, key, partition, headers
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class ScriptedProducer:
    """Raises from `send` what `refuse` says; acknowledges at once, or when told to if `is_slow`."""

    def __init__(self) -> None:
        self.client = self
        self.tries: list[bytes | None] = []
        self.sent: list[Sent] = []
        self.refuse: list[BaseException | None] = []
        self.limit_bytes = 1 << 21
        self.is_slow = False
        self.refreshes = 0

    def force_metadata_update(self) -> "asyncio.Future[Any]":
        self.refreshes += 1
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> "asyncio.Future[Any]":
        assert value is not None or key is not None
        self.tries.append(value)
        error = self.refuse.pop(0) if self.refuse else None
        if error is not None:
            raise error
        if len(value or b"") + sum(len(h) for _, h in headers or []) > self.limit_bytes:
            raise MessageSizeTooLargeError("too large")
        sent = Sent(topic, value, key, partition, headers or [])
        self.sent.append(sent)
        if not self.is_slow:
            sent.future.set_result(None)
        return sent.future

    def values(self) -> list[bytes | None]:
        return [sent.value for sent in self.sent]


class Bench:
    """An outbox, started, over a scripted producer. A pause ends at once and is counted."""

    def __init__(self) -> None:
        self.producer = ScriptedProducer()
        self.delivered: list[Address] = []
        self.renewals = 0
        self.pauses = 0
        self.paused = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.outbox = Outbox(self.producer, self.delivered.append, renew=self._renew, pause=self._pause)

    def put(self, value: str, *, partition: int = 0, offset: int | None = None) -> None:
        settles = None if offset is None else Address("lane", 0, offset)
        self.outbox.put(Output(topic="out", partition=partition, key=b"k", value=value.encode(), settles=settles))

    async def flush(self) -> None:
        await asyncio.wait_for(self.outbox.flush(), WITHIN_S)

    async def handed_over(self, count: int) -> None:
        await eventually(lambda: len(self.producer.sent) >= count, within_s=WITHIN_S)

    def _renew(self) -> None:
        self.renewals += 1

    async def _pause(self) -> None:
        self.pauses += 1
        self.paused.set()
        await self.go_on.wait()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.outbox.start()
    yield bench
    await bench.outbox.stop()


async def test_what_is_put_is_sent_in_order_and_settled(bench: Bench) -> None:
    bench.put("a", offset=1)
    bench.put("b", offset=2)
    await bench.flush()
    assert (bench.producer.values(), [at.offset for at in bench.delivered]) == ([b"a", b"b"], [1, 2])


async def test_a_refused_batch_is_sent_again_in_order_under_another_identity(bench: Bench) -> None:
    bench.producer.is_slow = True
    for value in ("started", "delta", "terminal"):
        bench.put(value, offset=7 if value == "terminal" else None)
    await bench.handed_over(3)
    bench.producer.is_slow = False
    for sent in bench.producer.sent:
        sent.future.set_exception(OutOfOrderSequenceNumber())
    await bench.flush()
    assert bench.producer.values()[3:] == [b"started", b"delta", b"terminal"]
    assert (bench.renewals, bench.pauses, bench.delivered) == (1, 1, [Address("lane", 0, 7)])


async def test_later_records_do_not_overtake_refused_ones_and_other_partitions_go_on(bench: Bench) -> None:
    bench.go_on.clear()
    bench.producer.refuse = [NodeNotReadyError()]
    bench.put("first")
    await asyncio.wait_for(bench.paused.wait(), WITHIN_S)
    bench.put("second")
    bench.put("elsewhere", partition=1)
    await bench.handed_over(1)
    before = bench.producer.values()
    bench.go_on.set()
    await bench.flush()
    assert (before, bench.producer.values()) == ([b"elsewhere"], [b"elsewhere", b"first", b"second"])


async def test_nothing_is_sent_again_while_a_later_record_is_on_its_way(bench: Bench) -> None:
    bench.producer.is_slow = True
    bench.put("a")
    bench.put("b")
    await bench.handed_over(2)
    first, second = bench.producer.sent
    bench.producer.is_slow = False
    first.future.set_exception(OutOfOrderSequenceNumber())
    await asyncio.sleep(0)
    assert (bench.pauses, bench.renewals) == (0, 0)
    second.future.set_exception(OutOfOrderSequenceNumber())
    await bench.flush()
    assert bench.producer.values()[2:] == [b"a", b"b"]


async def test_an_unknown_partition_makes_the_producer_look_again(bench: Bench) -> None:
    bench.producer.refuse = [AssertionError("Unrecognized partition")]
    bench.put("a", offset=1)
    await bench.flush()
    assert (bench.producer.refreshes, bench.renewals, len(bench.delivered)) == (1, 0, 1)


async def test_a_dead_letter_that_is_too_large_is_shortened(bench: Bench) -> None:
    at = Address("lane", 0, 5)
    why = ("__dlq.errors.code", b"body_too_large")
    big = b"x" * (1 << 21)
    bench.outbox.put(Output(topic=names.DEAD_LETTERS, key=None, value=big, headers=[("h", big), why], settles=at))
    await bench.flush()
    (sent,) = bench.producer.sent
    assert (sent.value, sent.headers) == (big[:KEPT_BYTES], [why, (TRUNCATED, str(len(big)).encode())])
    assert (bench.delivered, bench.pauses) == ([at], 0)


async def test_any_other_record_that_is_too_large_becomes_a_dead_letter(bench: Bench) -> None:
    bench.producer.limit_bytes = 200_000
    bench.put("x" * 300_000, offset=9)
    bench.put("next", offset=10)
    await bench.flush()
    letter = next(sent for sent in bench.producer.sent if sent.topic == names.DEAD_LETTERS)
    assert [header(letter.headers, f"__dlq.errors.{name}") for name in ("topic", "offset")] == [b"lane", b"9"]
    assert sorted(at.offset for at in bench.delivered) == [9, 10]


async def test_a_batch_that_is_too_large_costs_only_the_record_that_is(bench: Bench) -> None:
    bench.producer.is_slow = True
    bench.put("small", offset=1)
    bench.put("large", offset=2)
    await bench.handed_over(2)
    for sent in list(bench.producer.sent):
        sent.future.set_exception(MessageSizeTooLargeError())
    await bench.handed_over(3)
    bench.producer.sent[2].future.set_result(None)
    await bench.handed_over(4)
    bench.producer.is_slow = False
    bench.producer.sent[3].future.set_exception(MessageSizeTooLargeError())
    await bench.flush()
    assert [(sent.topic, sent.value) for sent in bench.producer.sent[2:]] == [
        ("out", b"small"),
        ("out", b"large"),
        (names.DEAD_LETTERS, b"large"),
    ]
    assert (sorted(at.offset for at in bench.delivered), bench.renewals) == ([1, 2], 2)


async def test_a_dead_letter_without_key_and_value_is_sent(bench: Bench) -> None:
    bench.outbox.put(Output(topic=names.DEAD_LETTERS, key=None, value=None))
    await bench.flush()
    assert bench.producer.values() == [b""]


@pytest.mark.parametrize("error", [ProducerClosed(), KafkaError("the sender died"), ValueError("a defect")])
async def test_what_cannot_go_on_is_told(bench: Bench, error: Exception) -> None:
    bench.producer.refuse = [error]
    bench.put("a")
    with pytest.raises(type(error)):
        await asyncio.wait_for(bench.outbox.join(), WITHIN_S)


class BrokenShipper:
    """A trace that cannot be delivered."""

    mark = 0

    def add(self, row: Row) -> int:
        return 0

    async def wait_delivered(self, mark: int) -> None:
        raise RuntimeError("no trace")


async def test_a_settlement_that_cannot_go_on_is_told() -> None:
    settlement = Settlement(BrokenShipper(), lambda at: None)
    await settlement.start()
    settlement.on_delivered(Address("lane", 0, 1))
    with pytest.raises(RuntimeError, match="no trace"):
        await asyncio.wait_for(settlement.join(), WITHIN_S)
    await settlement.stop()
