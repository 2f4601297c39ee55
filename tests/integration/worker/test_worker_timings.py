"""What a worker tells of its engine's timing, on the real broker."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import SimulatedDeployment
from tests.eventually import eventually
from tests.integration.worker.workshop import Answers, Workshop, a_worker, a_workshop, answers_of, records_of
from tests.unit.worker.builders import a_body
from topics import names
from topics.codec import decode_heartbeat
from topics.dispatches import BatchPart, Cancel
from topics.fleet import Heartbeat
from topics.responses import CancelledRequest, Completed

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]

BATCHES = SimulatedDeployment(
    mode="run_to_completion",
    fixed_us=50_000,
    per_sequence_us=1000,
    per_prefill_token_us=0,
    max_sequences=16,
    batch_wait_s=0.2,
)
STEPS = SimulatedDeployment(fixed_us=5000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0)


@asynccontextmanager
async def _at_work(
    kafka: KafkaBroker, model: str, engine: SimulatedDeployment
) -> AsyncIterator[tuple[Workshop, Answers, list[Any]]]:
    """A worker, the answers it gives, and the records of its heartbeats."""
    async with (
        a_workshop(kafka.bootstrap, model, engine) as shop,
        answers_of(shop) as answers,
        a_worker(shop),
        records_of(shop, names.workers_topic(model)) as records,
    ):
        yield shop, answers, records


def _beats(records: list[Any]) -> list[Heartbeat]:
    return [decode_heartbeat(record.value) for record in records]


async def test_a_batch_runs_whole_and_is_told_with_its_timing(kafka: KafkaBroker, unique_name: Name) -> None:
    async with _at_work(kafka, unique_name("m"), BATCHES) as (shop, answers, records):
        ids = [f"r{index}" for index in range(5)]
        parts = [BatchPart(id="batch-1", index=index, size=5) for index in range(5)]
        await shop.send(*(shop.dispatch(i, batch=part) for i, part in zip(ids, parts, strict=True)))
        await eventually(lambda: answers.ended(*ids), within_s=30)

        def told() -> list[Heartbeat]:
            return [beat for beat in _beats(records) if any(batch.id for batch in beat.batches)]

        await eventually(lambda: bool(told()), within_s=10)
        (beat,) = told()
        (timing,) = beat.batches
        assert (beat.mode, timing.id, timing.size, timing.service_us) == (
            "run_to_completion",
            "batch-1",
            5,
            55_000,
        )
        ended = [answers.of(request_id, Completed)[0] for request_id in ids]
        assert all(end.timing_ms["finished"] - end.timing_ms["started"] >= 55 for end in ended)


async def test_the_first_ready_heartbeats_have_the_warm_up(kafka: KafkaBroker, unique_name: Name) -> None:
    async with _at_work(kafka, unique_name("m"), BATCHES) as (_, _, records):
        await eventually(lambda: any(beat.batches for beat in _beats(records)), within_s=30)
        first = next(beat for beat in _beats(records) if beat.state == "ready")
        assert {batch.size for batch in first.batches} == {1, 4, 16}
        assert all(batch.service_us == 50_000 + 1000 * batch.size for batch in first.batches)


async def test_a_batch_does_not_hang_when_a_part_is_missing(kafka: KafkaBroker, unique_name: Name) -> None:
    async with _at_work(kafka, unique_name("m"), BATCHES) as (shop, answers, _):
        late = shop.dispatch("late", batch=BatchPart(id="b", index=0, size=3), deadline_at_ms=1)
        await shop.send(late, shop.dispatch("r1", batch=BatchPart(id="b", index=1, size=3)))
        await eventually(lambda: answers.ended("late", "r1"), within_s=30)
        assert answers.kinds("r1") == ["started", *["delta"] * 1, "completed"]


async def test_steps_are_told_with_what_they_held(kafka: KafkaBroker, unique_name: Name) -> None:
    async with _at_work(kafka, unique_name("m"), STEPS) as (shop, answers, records):
        await shop.send(*(shop.dispatch(f"r{n}", body=a_body(max_tokens=40)) for n in range(3)))
        await eventually(lambda: answers.ended("r0", "r1", "r2"), within_s=30)
        samples = [sample for beat in _beats(records) for sample in beat.samples]
        assert any(sample.decoding == 3 and sample.duration_us == 5000 for sample in samples)
        assert {beat.mode for beat in _beats(records)} == {"continuous"}
        assert all(len(beat.samples) <= 8 for beat in _beats(records))


async def test_a_cancelled_part_ends_cancelled_with_its_batch(kafka: KafkaBroker, unique_name: Name) -> None:
    async with _at_work(kafka, unique_name("m"), BATCHES) as (shop, answers, _):
        parts = [BatchPart(id="b", index=index, size=2) for index in range(2)]
        await shop.send(shop.dispatch("r0", batch=parts[0]))
        await shop.send(Cancel(id="r0", tenant="acme"), shop.dispatch("r1", batch=parts[1]))
        await eventually(lambda: answers.ended("r0", "r1"), within_s=30)
        assert answers.of("r0", CancelledRequest)
        assert answers.of("r1", Completed)
