"""A shard waits for its history, begins once, and goes on."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from processors.events import Address
from processors.execution import Executor
from processors.holds import Holds
from processors.outbox import Outbox
from processors.rebuilding import Rebuilding
from processors.recovery.legacy import DISPATCHED, Legacy
from processors.shard import LaneRecord, Shard
from tests.eventually import eventually
from tests.unit.processors.builders import MODEL, REPLIES, T0_MS, T0_S, a_policy, a_request, a_scheduler
from topics import names
from topics.codec import encode

LANE = names.Lane(MODEL, "interactive").topic
Reading = Callable[[Mapping[int, Legacy]], Awaitable[None]]


class Histories:
    """Runs what it is given before a shard may begin, and the rest when it is told to."""

    def __init__(self, *readings: Reading) -> None:
        self.readings = list(readings)
        self.more = asyncio.Event()
        self.ended = 0

    async def read(self, legacies: Mapping[int, Legacy]) -> AsyncGenerator[None]:
        try:
            await self.readings.pop(0)(legacies)
            yield
            await self.more.wait()
            legacies[0].identities.on_record(Address(LANE, 0, 1), T0_MS, encode(a_request("old")))
        finally:
            self.ended += 1


class Flow:
    def hold(self, topic: str, partition: int) -> None: ...
    def release(self, topic: str, partition: int) -> None: ...


class Shipper:
    mark = 0

    def add(self, row: Any) -> int:
        return 0

    async def wait_delivered(self, mark: int) -> None: ...


async def nothing(legacies: Mapping[int, Legacy]) -> None:
    """Nothing was left."""


async def flush() -> None: ...


def a_shard(number: int = 0) -> tuple[Shard, list[Address]]:
    """A shard that has not begun, and what it settles without an output."""
    settled: list[Address] = []
    outbox = Outbox(cast(Any, None), settled.append, renew=lambda: None)
    executor = Executor(MODEL, outbox=outbox, shipper=Shipper(), holds=Holds(Flow()))
    shard = Shard(a_scheduler(), number, executor=executor, delivered=settled.append, now_s=lambda: T0_S)
    return shard, settled


def rebuilding(histories: Histories) -> tuple[Rebuilding, list[Shard]]:
    begun: list[Shard] = []
    return Rebuilding(histories, a_policy(), REPLIES, flush=flush, begun=begun.append), begun


def a_record(offset: int) -> LaneRecord:
    value = encode(a_request(f"r{offset}"))
    return LaneRecord(
        at=Address(LANE, 0, offset), timestamp_ms=T0_MS, key=None, value=value, headers=[], ack=lambda: None
    )


async def test_what_comes_waits_until_the_logs_are_read() -> None:
    read = asyncio.Event()

    async def reading(legacies: Mapping[int, Legacy]) -> None:
        await read.wait()

    histories = Histories(reading)
    taking_over, begun = rebuilding(histories)
    shard, _ = a_shard()
    taking_over.add(shard)
    shard.on_lane_record(a_record(3), "interactive")
    await asyncio.sleep(0)
    assert (shard.scheduler.queued, begun) == (0, [])
    read.set()
    await eventually(lambda: begun == [shard])
    assert (shard.scheduler.queued, shard.waiting) == (1, None)
    shard.on_lane_record(a_record(4), "interactive")
    assert shard.scheduler.queued == 2
    shard.close()
    taking_over.prune()


async def test_ids_that_are_read_later_are_known_then() -> None:
    histories = Histories(nothing)
    taking_over, begun = rebuilding(histories)
    shard, _ = a_shard()
    taking_over.add(shard)
    await eventually(lambda: begun == [shard])
    assert shard.scheduler.sharing.known == 0
    histories.more.set()
    await eventually(lambda: shard.scheduler.sharing.known == 1)


async def test_what_the_former_owner_answered_is_settled_when_it_comes_again() -> None:
    async def reading(legacies: Mapping[int, Legacy]) -> None:
        legacies[0].on_waiting(Address(LANE, 0, 3), T0_MS, encode(a_request("r3")))
        (question,) = legacies[0].questions()
        legacies[0].on_answers({question.origin: DISPATCHED})

    taking_over, begun = rebuilding(Histories(reading))
    shard, settled = a_shard()
    taking_over.add(shard)
    for offset in (3, 4):
        shard.on_lane_record(a_record(offset), "interactive")
    await eventually(lambda: begun == [shard])
    assert settled == [Address(LANE, 0, 3)]
    assert shard.scheduler.queued == 1
    shard.close()
    taking_over.prune()


async def test_a_broker_that_is_away_is_asked_again() -> None:
    async def failing(legacies: Mapping[int, Legacy]) -> None:
        raise KafkaConnectionError("away")

    histories = Histories(failing, nothing)
    taking_over, begun = rebuilding(histories)
    shard, _ = a_shard()
    taking_over.add(shard)
    await eventually(lambda: begun == [shard])
    assert histories.readings == []
    shard.close()
    taking_over.prune()


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError("no"), RuntimeError("a fault")])
async def test_a_shard_begins_without_what_it_cannot_read(error: Exception) -> None:
    async def failing(legacies: Mapping[int, Legacy]) -> None:
        raise error

    histories = Histories(failing)
    taking_over, begun = rebuilding(histories)
    shard, _ = a_shard()
    taking_over.add(shard)
    shard.on_lane_record(a_record(3), "interactive")
    await eventually(lambda: begun == [shard])
    assert shard.scheduler.queued == 1


async def test_a_shard_that_is_taken_away_never_begins() -> None:
    async def for_ever(legacies: Mapping[int, Legacy]) -> None:
        await asyncio.Event().wait()

    histories = Histories(for_ever)
    taking_over, begun = rebuilding(histories)
    shard, _ = a_shard()
    taking_over.add(shard)
    await eventually(lambda: histories.readings == [])
    shard.close()
    taking_over.prune()
    await eventually(lambda: histories.ended == 1)
    assert begun == []
    assert shard.waiting is not None


async def test_shards_that_are_assigned_together_are_read_together() -> None:
    asked: list[set[int]] = []

    async def reading(legacies: Mapping[int, Legacy]) -> None:
        asked.append(set(legacies))

    taking_over, begun = rebuilding(Histories(reading))
    shards = [a_shard(number)[0] for number in (0, 1)]
    for shard in shards:
        taking_over.add(shard)
    await eventually(lambda: begun == shards)
    assert asked == [{0, 1}]
    for shard in shards:
        shard.close()
    taking_over.prune()
