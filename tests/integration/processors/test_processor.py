"""A processor on the real broker: requests in, dispatches and answers out, nothing lost."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
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
from topics.headers import header
from topics.requests import Cancellation, ReplyTo, Request
from topics.responses import CancelledRequest, Expired, Rejected

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]


async def test_a_request_becomes_a_dispatch_in_a_slot_of_the_worker(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, a_processor(plant), beating(plant, slots=(1,)):
        trace = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("other", b"x")]
        await plant.send(Request(id="r1", body=a_body()), headers=trace)
        async with records_of(plant, plant.dispatch_topic, 1) as slot:
            await eventually(lambda: dispatched_ids(slot) == ["r1"], within_s=30)
        (dispatch,) = slot_records(slot)
        assert isinstance(dispatch, Dispatch)
        assert (dispatch.origin, dispatch.hop, dispatch.seq) == (f"{plant.lane()}/0/0", 0, 1)
        assert (dispatch.reply.topic, dispatch.batch.size) == (names.RESPONSES, 1)
        assert [name for name, _ in slot[0].headers] == ["traceparent"]
        await eventually(lambda: _has_committed(plant, 1), within_s=10)


async def test_garbage_goes_to_the_dead_letters_and_the_lane_goes_on(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, a_processor(plant), beating(plant):
        await plant.send(b"\x00 no json", None, headers=[("mine", b"1")])
        await plant.request("r1")
        async with records_of(plant, names.DEAD_LETTERS) as letters, records_of(plant, plant.dispatch_topic) as slot:
            await eventually(lambda: dispatched_ids(slot) == ["r1"], within_s=30)
            first, second = await eventually(lambda: _letters_of(letters, plant), within_s=10)
        assert (first.value, first.key, header(first.headers, "mine")) == (b"\x00 no json", b"k", b"1")
        assert header(first.headers, "__dlq.errors.offset") == b"0"
        assert second.value is None
        await eventually(lambda: _has_committed(plant, 3), within_s=10)


async def test_senders_are_told_what_is_wrong(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, a_processor(plant):
        reply = ReplyTo(topic=names.RESPONSES, partition=2)
        await plant.send(
            Request(id="no-body", body=a_body(messages=[]), reply=reply),
            b'{"id": "late", "deadline_ms": 0, "body": {"prompt": "x"}}',
            Request(id="x", body=a_body(), reply=ReplyTo(topic="inference.dlq", partition=0)),
        )
        async with records_of(plant, names.RESPONSES, *range(8)) as found:
            await eventually(lambda: len(_answers(found, plant)) == 3, within_s=30)
        answers = {answer.id: answer for answer in _answers(found, plant)}
        assert {i: (type(a), a.error.code) for i, a in answers.items()} == {
            "no-body": (Rejected, "invalid_request"),
            "late": (Rejected, "invalid_deadline"),
            "x": (Rejected, "invalid_reply"),
        }


async def test_without_a_worker_requests_expire_or_are_cancelled(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, a_processor(plant):
        await plant.request("expires", deadline_ms=1500)
        await plant.request("cancelled")
        async with records_of(plant, names.RESPONSES, *range(8)) as found:
            await eventually(lambda: [type(a) for a in _answers(found, plant)] == [Expired], within_s=30)
            cancellation = encode(Cancellation(id="cancelled", model=plant.model))
            await plant.producer.send_and_wait(names.CANCELLATIONS, cancellation)
            await eventually(lambda: len(_answers(found, plant)) == 2, within_s=10)
        assert isinstance(_answers(found, plant)[1], CancelledRequest)
        await eventually(lambda: _has_committed(plant, 2), within_s=10)


async def test_a_cancellation_follows_its_request_into_the_slot(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, a_processor(plant), beating(plant):
        await plant.request("r1")
        async with records_of(plant, plant.dispatch_topic) as slot:
            await eventually(lambda: dispatched_ids(slot) == ["r1"], within_s=30)
            await plant.producer.send_and_wait(names.CANCELLATIONS, encode(Cancellation(id="r1", model=plant.model)))
            await eventually(lambda: len(slot) == 2, within_s=10)
        assert slot_records(slot)[1] == Cancel(id="r1", tenant="default", origin=f"{plant.lane()}/0/0")


async def test_returned_work_is_dispatched_again_with_the_next_hop(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, a_processor(plant), beating(plant):
        await plant.request("r1")
        async with records_of(plant, plant.dispatch_topic) as slot:
            await eventually(lambda: len(slot) == 1, within_s=30)
            (first,) = slot_records(slot)
            assert isinstance(first, Dispatch)
            handback = Return(dispatch=first, dispatched_at_ms=slot[0].timestamp, worker="w1", reason="drained")
            await plant.producer.send_and_wait(names.returns_topic(plant.model), encode(handback), key=b"r1")
            await eventually(lambda: len(slot) == 2, within_s=10)
        second = slot_records(slot)[1]
        assert isinstance(second, Dispatch)
        assert (second.hop, second.origin, second.first_dispatched_at_ms) == (1, first.origin, slot[0].timestamp)


async def test_a_full_lane_is_paused_and_loses_nothing(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m"), queue_limit=50) as plant:
        ids = [f"b{i}" for i in range(3000)]
        await plant.request(*ids, latency_class="bulk")
        async with a_processor(plant), records_of(plant, plant.dispatch_topic) as slot:
            await plant.request("urgent")
            async with beating(plant, slot, every_s=0.05, free=100, kv=10_000_000):
                await eventually(lambda: set(dispatched_ids(slot)) >= {*ids, "urgent"}, within_s=60)
            assert sorted(dispatched_ids(slot)) == sorted([*ids, "urgent"])
            await eventually(lambda: _has_committed(plant, 3000, "bulk"), within_s=10)


async def test_a_killed_processor_loses_nothing(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, records_of(plant, plant.dispatch_topic) as slot:
        ids = [f"r{i}" for i in range(600)]
        async with beating(plant, slot, free=30, kv=10_000_000):
            for round_of in range(3):
                process = await a_processor_process(plant)
                await plant.request(*ids[round_of * 200 : round_of * 200 + 200])
                more = partial(_has_more, slot, len(slot))
                await eventually(more, within_s=30)
                process.kill()
                await process.wait()
            process = await a_processor_process(plant)
            await eventually(lambda: set(dispatched_ids(slot)) == set(ids), within_s=60)
            await eventually(lambda: _has_committed(plant, 600), within_s=10)
            process.terminate()
            assert await process.wait() == 0


async def test_a_stopped_processor_has_committed_what_it_did(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_plant(kafka.bootstrap, unique_name("m")) as plant, records_of(plant, plant.dispatch_topic) as slot:
        async with a_processor(plant) as stopped, beating(plant, free=1000, kv=10_000_000):
            await plant.request(*(f"r{i}" for i in range(100)))
            await eventually(lambda: len(slot) == 100, within_s=30)
            assert await stopped() == 0
        assert await plant.committed(plant.lane()) == 100


async def _has_committed(plant: Plant, offset: int, latency_class: str = "interactive") -> bool:
    return await plant.committed(plant.lane(latency_class)) == offset


def _has_more(found: list[Any], than: int) -> bool:
    return len(found) > than


def _letters_of(letters: list[Any], plant: Plant) -> list[Any]:
    ours = [record for record in letters if header(record.headers, "__dlq.errors.topic") == plant.lane().encode()]
    return ours if len(ours) == 2 else []


def _answers(found: list[Any], plant: Plant) -> list[Any]:
    answers = [decode_response(record.value) for record in found]
    return [answer for answer in answers if answer.origin.startswith(plant.lane())]


async def test_a_broker_that_dies_and_comes_back_costs_time_only(tmp_path: Path, unique_name: Name) -> None:
    broker = KafkaBroker(folder=tmp_path, log=tmp_path / "log")
    await asyncio.to_thread(broker.start)
    try:
        async with (
            a_plant(broker.bootstrap, unique_name("m")) as plant,
            records_of(plant, plant.dispatch_topic) as slot,
        ):
            ids = [f"r{i}" for i in range(100)]
            async with a_processor(plant), beating(plant, slot, free=1000, kv=10_000_000):
                await plant.request(*ids[:50])
                await eventually(lambda: len(slot) > 0, within_s=30)
                await asyncio.to_thread(broker.kill)
                sending = asyncio.ensure_future(plant.request(*ids[50:]))
                await asyncio.to_thread(broker.start)
                await sending
                await eventually(lambda: set(dispatched_ids(slot)) == set(ids), within_s=60)
                await eventually(lambda: _has_committed(plant, 100), within_s=20)
    finally:
        await asyncio.to_thread(broker.close)


async def test_a_second_processor_takes_over_at_once_when_the_first_stops(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with (
        a_plant(kafka.bootstrap, unique_name("m"), shards=2) as plant,
        a_processor(plant),
        a_processor(plant) as stopped,
        records_of(plant, plant.dispatch_topic) as slot,
        beating(plant, slot, free=1000, kv=10_000_000),
    ):
        await plant.send(*_requests("a", 100), partition=0)
        await plant.send(*_requests("b", 100), partition=1)
        await eventually(lambda: len(set(dispatched_ids(slot))) == 200, within_s=40)
        assert await stopped() == 0
        await plant.send(*_requests("c", 100), partition=0)
        await plant.send(*_requests("d", 100), partition=1)
        await eventually(lambda: len(set(dispatched_ids(slot))) == 400, within_s=40)


def _requests(prefix: str, count: int) -> list[Request]:
    return [Request(id=f"{prefix}{i}", body=a_body()) for i in range(count)]
