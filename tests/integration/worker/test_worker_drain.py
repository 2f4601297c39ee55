"""Workers join and leave: what stays is not interrupted, what moves is handed back, and the operator is told."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.cli.drain import drain
from tests.eventually import eventually
from tests.integration.worker.workshop import (
    SLOW,
    Answers,
    Workshop,
    a_worker,
    a_workshop,
    answers_of,
    records_of,
)
from tests.unit.worker.builders import a_body
from topics import names
from topics.codec import decode_control, decode_heartbeat, decode_return
from topics.errors import SettingsError
from topics.responses import Delta, Started

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
Name = Callable[[str], str]

SLOTS = 6
LONG = 4000


def _owners(records: list[Any]) -> dict[str, set[int]]:
    """Slots by worker, as their newest heartbeats have it."""
    newest = {beat.worker: beat for beat in (decode_heartbeat(record.value) for record in records)}
    return {worker: {slot.partition for slot in beat.slots} for worker, beat in newest.items()}


async def _stream_in_every_slot(shop: Workshop, answers: Answers, *, max_tokens: int) -> None:
    for slot in range(SLOTS):
        await shop.send(shop.dispatch(f"r{slot}", body=a_body(max_tokens=max_tokens)), slot=slot)
    await eventually(lambda: all(len(answers.of(f"r{slot}", Delta)) > 2 for slot in range(SLOTS)), within_s=30)


async def test_a_third_worker_that_joins_interrupts_no_stream_of_a_slot_that_stays(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), SLOW, slots=SLOTS) as shop,
        answers_of(shop) as answers,
        records_of(shop, names.workers_topic(shop.model)) as beats,
        a_worker(shop, worker_id="a", grace_s=0),
        a_worker(shop, worker_id="b", grace_s=0),
    ):
        await eventually(lambda: sorted(map(len, _owners(beats).values())) == [3, 3], within_s=40)
        before = _owners(beats)
        await _stream_in_every_slot(shop, answers, max_tokens=200)
        async with a_worker(shop, worker_id="c", grace_s=0):
            await eventually(lambda: len(_owners(beats).get("c", ())) == 2, within_s=40)
            moved = _owners(beats)["c"]
            await eventually(lambda: answers.ended(*(f"r{slot}" for slot in range(SLOTS))), within_s=40)
        attempts = {slot: len(answers.of(f"r{slot}", Started)) for slot in range(SLOTS)}
        assert attempts == {slot: 2 if slot in moved else 1 for slot in range(SLOTS)}
        assert all(len(moved & slots) == 1 for slots in before.values())


async def test_a_drained_worker_hands_its_streams_back_and_says_goodbye(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), SLOW, slots=SLOTS) as shop,
        answers_of(shop) as answers,
        records_of(shop, names.workers_topic(shop.model)) as beats,
        records_of(shop, names.returns_topic(shop.model)) as returns,
        records_of(shop, names.CONTROL) as orders,
        a_worker(shop, worker_id="b", grace_s=0),
        a_worker(shop, worker_id="a", grace_s=0) as stopped,
    ):
        await eventually(lambda: sorted(map(len, _owners(beats).values())) == [3, 3], within_s=40)
        mine, others = _owners(beats)["a"], _owners(beats)["b"]
        await _stream_in_every_slot(shop, answers, max_tokens=LONG)

        drained = await drain(shop.settings, "a", grace_s=0, timeout_s=20)

        assert (drained.worker, drained.state, drained.handed_back) == ("a", "stopped", 3)
        assert await stopped() == 0
        returned = [decode_return(record.value) for record in returns]
        assert {(one.dispatch.id, one.reason, one.worker) for one in returned} == {
            (f"r{slot}", "drained", "a") for slot in mine
        }
        await eventually(lambda: _owners(beats)["b"] == set(range(SLOTS)), within_s=20)
        assert [len(answers.of(f"r{slot}", Started)) for slot in others] == [1] * 3
        last = decode_heartbeat([r for r in beats if decode_heartbeat(r.value).worker == "a"][-1].value)
        assert (last.state, last.running) == ("stopped", 0)
        ours = [record for record in orders if record.key == b"worker/a"][-2:]
        assert decode_control(ours[0].value).run == last.run  # type: ignore[union-attr]
        assert ours[1].value is None


async def test_what_ends_within_the_grace_period_is_not_moved(kafka: KafkaBroker, unique_name: Name) -> None:
    async with (
        a_workshop(kafka.bootstrap, unique_name("m"), SLOW) as shop,
        answers_of(shop) as answers,
        a_worker(shop, worker_id="a") as stopped,
    ):
        await shop.owned(0)
        await shop.send(shop.dispatch("short", body=a_body(max_tokens=50)))
        await shop.send(shop.dispatch("long", body=a_body(max_tokens=LONG)))
        await eventually(lambda: answers.of("long", Delta) and answers.of("short", Delta), within_s=30)
        drained = await drain(shop.settings, "a", grace_s=3, timeout_s=20, is_last_allowed=True)
        assert await stopped() == 0
        assert (drained.state, drained.handed_back) == ("stopped", 1)
        assert answers.kinds("short")[-1] == "completed"


async def test_who_cannot_be_drained_is_told_why(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m")) as shop, a_worker(shop, worker_id="only"):
        await shop.owned(0)
        with pytest.raises(SettingsError, match="no worker 'w-9'; there are: only"):
            await drain(shop.settings, "w-9", grace_s=0, timeout_s=5)
        with pytest.raises(SettingsError, match="the only one of"):
            await drain(shop.settings, "only", grace_s=0, timeout_s=5)
