"""Processors that die, stall or are restarted: their successors go on where they were."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime import kafka as clients
from tests.eventually import eventually
from tests.integration.processors.plant import (
    Plant,
    a_plant,
    a_processor,
    a_processor_process,
    beating,
    dispatched_ids,
    records_of,
    slot_records,
)
from tests.unit.processors.builders import a_body
from topics import names
from topics.codec import decode_response, encode
from topics.dispatches import Cancel, Dispatch, Return
from topics.requests import Cancellation, Request
from topics.responses import CancelledRequest, Rejected, Response

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
Name = Callable[[str], str]
SESSION_MS = 3_000


async def test_what_a_killed_processor_did_is_not_done_again(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_plant(kafka.bootstrap, unique_name("m"), session_timeout_ms=SESSION_MS) as plant,
        records_of(plant, plant.dispatch_topic) as slot,
        records_of(plant, names.RESPONSES, *range(8)) as answers,
        beating(plant, slot, free=16, kv=10_000_000),
        _processes(plant) as start,
    ):
        active, standby = await start(), await start()
        sending = asyncio.ensure_future(_send(plant, 600))
        await eventually(lambda: len(slot) > 100, within_s=60)
        active.kill()
        ids = await sending
        await eventually(lambda: set(dispatched_ids(slot)) >= set(ids), within_s=60)
        await eventually(lambda: _has_committed(plant, len(ids) + len(ids) // 10), within_s=20)
        assert standby.returncode is None
        assert _repeated(slot) == {}
        assert len(dispatched_ids(slot)) == len(ids)
        refused = Counter(answer.origin for answer in _answers(answers, plant) if isinstance(answer, Rejected))
        assert len(refused) == len(ids) // 10
        assert set(refused.values()) == {1}


async def test_a_processor_that_stalled_does_no_harm(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_plant(kafka.bootstrap, unique_name("m"), session_timeout_ms=SESSION_MS) as plant,
        records_of(plant, plant.dispatch_topic) as slot,
        beating(plant, slot, free=16, kv=10_000_000),
        _processes(plant) as start,
    ):
        zombie, _ = await start(), await start()
        sending = asyncio.ensure_future(_send(plant, 600))
        await eventually(lambda: len(slot) > 100, within_s=60)
        zombie.send_signal(signal.SIGSTOP)
        ids = await sending
        await eventually(lambda: set(dispatched_ids(slot)) >= set(ids), within_s=60)
        zombie.send_signal(signal.SIGCONT)
        await eventually(lambda: _has_committed(plant, len(ids) + len(ids) // 10), within_s=20)
        await eventually(lambda: _members(plant, 2), within_s=60)
        more = await _send(plant, 50, prefix="late")
        await eventually(lambda: set(dispatched_ids(slot)) >= set(more), within_s=60)
        assert {record.hop for record in slot_records(slot) if isinstance(record, Dispatch)} == {0}
        assert max(_repeated(slot).values(), default=2) == 2


async def test_an_id_is_known_after_a_restart(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_plant(kafka.bootstrap, unique_name("m"), session_timeout_ms=SESSION_MS) as plant,
        records_of(plant, plant.dispatch_topic) as slot,
        records_of(plant, names.RESPONSES, *range(8)) as answers,
        beating(plant, slot),
    ):
        async with a_processor(plant):
            await plant.request("r1")
            await eventually(lambda: dispatched_ids(slot) == ["r1"], within_s=30)
            await eventually(lambda: _has_committed(plant, 1), within_s=10)
            await plant.send(Request(id="r1", body=a_body(max_tokens=3)))
            await eventually(lambda: _codes(answers, plant) == ["id_conflict"], within_s=20)
            await eventually(lambda: _has_committed(plant, 2), within_s=20)
        async with a_processor(plant):
            await plant.request("r1")
            await plant.send(Request(id="r1", body=a_body(max_tokens=3)))
            await eventually(lambda: _codes(answers, plant) == ["id_conflict"] * 2, within_s=30)
            await eventually(lambda: len(slot) == 2, within_s=10)
        first, second = (record for record in slot_records(slot) if isinstance(record, Dispatch))
        assert first.primary is None
        assert second.primary is not None
        assert second.primary.origin == first.origin


async def test_cancellations_are_heeded_that_came_while_nobody_was_there(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_plant(kafka.bootstrap, unique_name("m"), session_timeout_ms=SESSION_MS) as plant,
        records_of(plant, plant.dispatch_topic) as slot,
        records_of(plant, names.RESPONSES, *range(8)) as answers,
    ):
        async with a_processor(plant), beating(plant, slot):
            await plant.request("running", "ended")
            await eventually(lambda: len(slot) == 2, within_s=30)
            await eventually(lambda: _has_committed(plant, 2), within_s=30)
            await _cancel(plant, "early")
            await _cancel(plant, "ended")
            await eventually(lambda: len(slot) == 3, within_s=10)
        await plant.request("waiting")
        await _cancel(plant, "running", "waiting")
        async with a_processor(plant):
            await eventually(lambda: len(_answers(answers, plant)) == 1, within_s=30)
            await plant.request("early", "ended")
            await eventually(lambda: len(_answers(answers, plant)) == 2, within_s=30)
            async with beating(plant, slot, seq=1_000_000, at_ms=2_000_000_000_000):
                await eventually(lambda: dispatched_ids(slot) == ["running", "ended", "ended"], within_s=30)
        assert {(a.id, type(a)) for a in _answers(answers, plant)} == {
            ("waiting", CancelledRequest),
            ("early", CancelledRequest),
        }
        assert Counter(record.id for record in slot_records(slot) if isinstance(record, Cancel)) == {
            "running": 1,
            "ended": 1,
        }


async def test_work_that_was_handed_back_is_dispatched_again_once(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_plant(kafka.bootstrap, unique_name("m"), session_timeout_ms=SESSION_MS) as plant,
        records_of(plant, plant.dispatch_topic) as slot,
        records_of(plant, names.RESPONSES, *range(8)) as answers,
    ):
        async with a_processor(plant), beating(plant, slot):
            await plant.request("r1", "r2")
            await eventually(lambda: len(slot) == 2, within_s=30)
            await eventually(lambda: _has_committed(plant, 2), within_s=30)
        first, second = (record for record in slot_records(slot) if isinstance(record, Dispatch))
        for dispatch in (first, second):
            handback = Return(dispatch=dispatch, dispatched_at_ms=slot[0].timestamp, worker="w1", reason="drained")
            await plant.producer.send_and_wait(names.returns_topic(plant.model), encode(handback), key=b"r")
        await _cancel(plant, "r2")
        async with a_processor(plant), beating(plant, slot):
            await eventually(lambda: len(dispatched_ids(slot)) == 3, within_s=30)
            await eventually(lambda: len(_answers(answers, plant)) == 2, within_s=20)
            await eventually(lambda: _returns_committed(plant, 2), within_s=20)
        async with a_processor(plant), beating(plant, slot):
            await plant.request("r3")
            await eventually(lambda: "r3" in dispatched_ids(slot), within_s=30)
        hops = [(record.id, record.hop) for record in slot_records(slot) if isinstance(record, Dispatch)]
        assert hops == [("r1", 0), ("r2", 0), ("r1", 1), ("r3", 0)]
        assert type(_answers(answers, plant)[-1]) is CancelledRequest


@asynccontextmanager
async def _processes(plant: Plant) -> AsyncIterator[Callable[[], Awaitable[asyncio.subprocess.Process]]]:
    """Starts processors, of which the first one owns the shard, and ends whichever of them are left."""
    processes: list[asyncio.subprocess.Process] = []

    async def start() -> asyncio.subprocess.Process:
        processes.append(await a_processor_process(plant))
        await eventually(lambda: _members(plant, len(processes)), within_s=90)
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


async def _members(plant: Plant, count: int) -> bool:
    """Whether the model's group has settled on so many members."""
    admin = clients.admin(plant.settings.kafka)
    await admin.start()
    try:
        (response,) = await admin.describe_consumer_groups([f"millrace.{plant.model}"])
    except GroupCoordinatorNotAvailableError:
        return False  # a new broker makes the topic of its groups when the first one comes
    else:
        (_, _, state, _, _, members, *_) = response.groups[0]
        return state == "Stable" and len(members) == count
    finally:
        await admin.close()


async def _send(plant: Plant, count: int, *, prefix: str = "r") -> list[str]:
    """Requests at a steady pace, with one that is refused after every ten."""
    ids = [f"{prefix}{number}" for number in range(count)]
    for start in range(0, count, 10):
        await plant.request(*ids[start : start + 10])
        await plant.send(Request(id=f"bad-{prefix}{start}", body=a_body(messages=[])))
        await asyncio.sleep(0.05)
    return ids


async def _cancel(plant: Plant, *ids: str) -> None:
    for request_id in ids:
        await plant.producer.send_and_wait(names.CANCELLATIONS, encode(Cancellation(id=request_id, model=plant.model)))


async def _has_committed(plant: Plant, offset: int) -> bool:
    return await plant.committed(plant.lane()) == offset


async def _returns_committed(plant: Plant, offset: int) -> bool:
    return await plant.committed(names.returns_topic(plant.model)) == offset


def _repeated(slot: list[Any]) -> dict[tuple[str, int], int]:
    """Dispatches of one request at one hop, where there are several."""
    found = [record for record in slot_records(slot) if isinstance(record, Dispatch)]
    counts = Counter((record.origin, record.hop) for record in found)
    return {place: count for place, count in counts.items() if count > 1}


def _answers(found: list[Any], plant: Plant) -> list[Response]:
    answers = [decode_response(record.value) for record in found]
    return [answer for answer in answers if plant.model in answer.origin]


def _codes(found: list[Any], plant: Plant) -> list[str]:
    return [a.error.code for a in _answers(found, plant) if isinstance(a, Rejected) and a.error]
