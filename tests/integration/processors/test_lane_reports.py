"""What a processor tells of its lanes, among the heartbeats on the real broker."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
from tests.eventually import eventually
from tests.integration.processors.plant import Plant, a_plant, a_processor, beating, dispatched_ids, records_of
from tests.unit.processors.builders import a_body
from topics import names
from topics.codec import decode_workers_record
from topics.fleet import LaneFigures, LaneReport
from topics.requests import Request

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]


def _newest(records: list[Any], latency_class: str) -> LaneFigures | None:
    reports = [told for told in map(_told, records) if isinstance(told, LaneReport)]
    return next((lane for lane in reports[-1].lanes if lane.latency_class == latency_class), None) if reports else None


def _told(record: Any) -> object:
    return decode_workers_record(record.value)


async def _waits(plant: Plant, records: list[Any], queued: int) -> LaneFigures:
    def found() -> LaneFigures | None:
        lane = _newest(records, "interactive")
        return lane if lane is not None and lane.queued == queued else None

    lane = await eventually(found, within_s=40)
    assert lane is not None
    return lane


async def test_the_queue_and_its_slack_are_told(kafka: KafkaBroker, unique_name: Name) -> None:
    model = unique_name("m")
    async with (
        a_plant(kafka.bootstrap, model) as plant,
        a_processor(plant),
        records_of(plant, names.workers_topic(model)) as records,
    ):
        await plant.request("r1", "r2", deadline_ms=60_000)
        lane = await _waits(plant, records, 2)
        assert lane.slack_ms is not None
        assert 0 < lane.slack_ms <= 60_000
        bulk = _newest(records, "bulk")
        assert bulk is not None
        assert (bulk.queued, bulk.slack_ms) == (0, None)


async def test_records_of_other_kinds_among_the_heartbeats_do_no_harm(kafka: KafkaBroker, unique_name: Name) -> None:
    model = unique_name("m")
    async with (
        a_plant(kafka.bootstrap, model) as plant,
        a_processor(plant),
        records_of(plant, plant.dispatch_topic) as slot,
        beating(plant),
    ):
        await plant.producer.send_and_wait(names.workers_topic(model), b'{"type":"weather","sun":true}', key=b"k")
        await plant.request("r1")
        await eventually(lambda: dispatched_ids(slot) == ["r1"], within_s=30)


async def test_shards_give_way_to_one_that_tells_of_a_request_too_large_for_its_part(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    model = unique_name("m")
    async with (
        a_plant(kafka.bootstrap, model, shards=2) as plant,
        a_processor(plant),
        records_of(plant, plant.dispatch_topic) as slot,
        beating(plant, slot, free=4, running=28),
    ):
        await plant.send(Request(id="r1", body=a_body(n=4)))
        await eventually(lambda: dispatched_ids(slot) == ["r1"], within_s=30)
