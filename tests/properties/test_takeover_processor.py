"""When a processor acknowledges an input: only after the broker has everything that followed from it, and in order.

The product's outbox, settlement and ordered acknowledgements over a modelled lane: a producer whose batches are refused
before or after they were written, a trace that lags, decisions in any order, crashes, and former owners that wake up.
Then every input has been answered for, and none was committed before that.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import pytest
from aiokafka.errors import NotLeaderForPartitionError, OutOfOrderSequenceNumber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.acks import OrderedAcks
from processors.delivery import Settlement, TraceShipper
from processors.events import Address
from processors.outbox import Outbox, Output, Producer
from tests.properties.log_model import Choices, Violation

LANE: Final = "inference.requests.m.bulk"
INPUTS: Final = 12
DESTINATIONS: Final = (("dispatch", 0), ("dispatch", 1), ("responses", 0))
SETTLING: Final = 400
LOOPS: Final = 8
"""Rounds of the event loop after which tasks that wait for nothing have come to rest."""


class _Trace:
    """Where rows go: delivered up to `delivered`, when somebody says so."""

    def __init__(self) -> None:
        self.mark = 0
        self.delivered = 0
        self._news = asyncio.Event()

    def add(self, row: object) -> int:
        self.mark += 1
        return self.mark

    def deliver(self) -> None:
        self.delivered = self.mark
        self._news.set()

    async def wait_delivered(self, mark: int) -> None:
        while self.delivered < mark:
            self._news.clear()
            await self._news.wait()


class _Client:
    async def force_metadata_update(self) -> None:
        pass


class _Broker:
    """An idempotent producer and what the broker has of it: batches of a partition arrive in order, or not at all."""

    client = _Client()

    def __init__(self, world: "Lane", life: int) -> None:
        self._world = world
        self._life = life
        self.flying: dict[tuple[str, int], deque[tuple[bytes, asyncio.Future[None]]]] = {}

    async def send(self, topic: str, value: bytes, key: bytes, partition: int, headers: object = None) -> Any:
        if self._world.choices.chance(0.04):
            raise NotLeaderForPartitionError
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.flying.setdefault((topic, partition), deque()).append((value, future))
        return future

    def land(self, place: tuple[str, int]) -> None:
        """The first batch of a partition is written; or it is refused, and what follows it with it."""
        queue = self.flying[place]
        fate = self._world.choices.byte()
        value, future = queue.popleft()
        if fate < 250:
            self._world.write(self._life, place, value)
        if fate < 230:
            future.set_result(None)
        else:
            future.set_exception(NotLeaderForPartitionError())
            for _, other in queue:
                other.set_exception(OutOfOrderSequenceNumber())
            queue.clear()
        if not queue:
            del self.flying[place]

    def die(self) -> None:
        """What is on its way is written, or not."""
        for place, queue in self.flying.items():
            for value, _ in list(queue)[: self._world.choices.byte() % (len(queue) + 1)]:
                self._world.write(self._life, place, value)
        self.flying.clear()


class _Processor:
    """One owner of the lane: reads it, decides in any order, and acknowledges."""

    def __init__(self, world: "Lane", life: int) -> None:
        self.life = life
        self.trace = _Trace()
        self.broker = _Broker(world, life)
        self._world = world
        self._acks = OrderedAcks()
        self.settlement = Settlement(cast(TraceShipper, self.trace), self._acks.settle)
        self.outbox = Outbox(
            cast(Producer, self.broker), self.settlement.on_delivered, renew=lambda: None, pause=_no_pause
        )
        self._position = world.committed
        self._waiting: list[int] = []

    async def start(self) -> None:
        await self.outbox.start()
        await self.settlement.start()

    async def stop(self) -> None:
        self.broker.die()
        await self.outbox.stop()
        await self.settlement.stop()

    def read(self) -> None:
        if self._position < INPUTS:
            offset = self._position
            self._position += 1
            self._acks.receive(Address(LANE, 0, offset), lambda: self._world.acknowledge(self, offset))
            self._waiting.append(offset)

    def decide(self) -> None:
        """Answer for one of the inputs that wait, with one record or two."""
        if self._waiting:
            offset = self._waiting.pop(self._world.choices.byte() % len(self._waiting))
            self.trace.add(offset)
            self._world.marks[self.life, offset] = self.trace.mark
            topic, partition = DESTINATIONS[offset % len(DESTINATIONS)]
            for value in outputs_of(offset):
                is_last = value == outputs_of(offset)[-1]
                settles = Address(LANE, 0, offset) if is_last else None
                self.outbox.put(Output(topic=topic, partition=partition, key=b"", value=value, settles=settles))
                self._world.put.setdefault((self.life, (topic, partition)), []).append(value)

    def land(self) -> None:
        if self.broker.flying:
            self.broker.land(self._world.choices.of(list(self.broker.flying)))

    def steps(self) -> tuple[Callable[[], None], ...]:
        return self.read, self.decide, self.land, self.land, self.trace.deliver


async def _no_pause() -> None:
    await asyncio.sleep(0)


def outputs_of(offset: int) -> list[bytes]:
    """What has to be in the log before an input may be acknowledged; the last one settles it."""
    return [b"%d.%d" % (offset, part) for part in range(1 + offset % 2)]


class Lane:
    """One partition of a lane, the group's view of it, and all that was ever written."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.committed = 0
        self.generation = 0
        self.written: list[tuple[int, tuple[str, int], bytes]] = []
        self.put: dict[tuple[int, tuple[str, int]], list[bytes]] = {}
        self.marks: dict[tuple[int, int], int] = {}
        self._values: set[bytes] = set()

    def write(self, life: int, place: tuple[str, int], value: bytes) -> None:
        self.written.append((life, place, value))
        self._values.add(value)

    def acknowledge(self, processor: _Processor, offset: int) -> None:
        """The group takes it from its present owner only."""
        if processor.life != self.generation:
            return
        if offset != self.committed:
            raise Violation(f"{offset} was acknowledged after {self.committed - 1}")
        missing = [value for value in outputs_of(offset) if value not in self._values]
        if missing:
            raise Violation(f"{offset} was acknowledged, {missing} are not written")
        if processor.trace.delivered < self.marks[processor.life, offset]:
            raise Violation(f"{offset} was acknowledged, its trace is not delivered")
        self.committed = offset + 1

    async def live(self) -> None:
        """Owners come and go, and one is left undisturbed."""
        owner = await self._owned()
        zombies: list[_Processor] = []
        while self.choices.left:
            chance = self.choices.byte()
            if chance < 8:
                await owner.stop()
                owner = await self._owned()
            elif chance < 16:
                zombies.append(owner)
                owner = await self._owned()
            else:
                one = self.choices.of([owner, owner, *zombies])
                self.choices.of(one.steps())()
                await _rest()
        for zombie in zombies:
            await zombie.stop()
        for _ in range(SETTLING):
            for step in owner.steps():
                step()
            await _rest()
            if self.committed == INPUTS:
                break
        await owner.stop()
        if self.committed != INPUTS:
            raise Violation(f"only {self.committed} of {INPUTS} inputs were acknowledged in the end")
        self._check_order()

    async def _owned(self) -> _Processor:
        self.generation += 1
        processor = _Processor(self, self.generation)
        await processor.start()
        return processor

    def _check_order(self) -> None:
        """Records of one destination first appear in the order in which they were put."""
        for (life, place), values in self.put.items():
            seen = list(dict.fromkeys(value for of, to, value in self.written if (of, to) == (life, place)))
            if seen != [value for value in values if value in set(seen)]:
                raise Violation(f"{place} got {seen}, put were {values}")


async def _rest() -> None:
    for _ in range(LOOPS):
        await asyncio.sleep(0)


BYTES: Final = 200
RUNS: Final = 60


@pytest.fixture(scope="module")
def run() -> Any:
    with asyncio.Runner() as runner:
        yield runner.run


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.binary(min_size=BYTES // 2, max_size=BYTES * 3 // 2))
def test_an_input_is_acknowledged_after_all_that_followed_from_it(run: Callable[[Any], None], data: bytes) -> None:
    run(Lane(Choices(data)).live())


# What is taken out, one part at a time


def _without_the_broker(patch: pytest.MonkeyPatch) -> None:
    """An output counts as written when it was handed over."""

    def put(outbox: Outbox, output: Output) -> None:
        outbox._put(output)
        if output.settles is not None:
            outbox._on_delivered(output.settles)

    patch.setattr(Outbox, "put", put)


def _without_the_trace(patch: pytest.MonkeyPatch) -> None:
    """An input is settled although its trace may be lost."""
    patch.setattr(Settlement, "on_delivered", lambda settlement, at: settlement._settle(at))


def _without_order(patch: pytest.MonkeyPatch) -> None:
    """An input is acknowledged although one before it is not."""
    patch.setattr(OrderedAcks, "settle", lambda acks, at: acks._by_offset[at.offset].ack())


SABOTAGES: Final = (_without_the_broker, _without_the_trace, _without_order)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_no_part_of_acknowledging_can_be_left_out(
    sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], None]
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(Violation):
        for seed in range(RUNS):
            run(Lane(Choices(random.Random(seed).randbytes(BYTES))).live())
