"""Bulk gives way to realtime and goes on later, on the real broker: its reader sees a pause and the same text."""

from collections.abc import Callable

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import SimulatedDeployment
from tests.eventually import eventually
from tests.integration.sharing.mill import Mill, a_mill, running
from tests.unit.worker.builders import a_body
from topics.responses import CancelledRequest, Completed

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]
Name = Callable[[str], str]

SMALL = SimulatedDeployment(
    fixed_us=20_000, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0, max_sequences=2
)
"""Two sequences at a time, 50 tokens a second each."""
CLASSES = ("realtime", "bulk")


async def two_bulk_streams(mill: Mill, *, tokens: int, stream: bool = True) -> list[str]:
    """Requests that fill the worker, each with some tokens: their origins."""
    bodies = [a_body(content=name, max_tokens=tokens, temperature=1, stream=stream) for name in ("one", "two")]
    origins = [await mill.send(f"b{i}", body, latency_class="bulk") for i, body in enumerate(bodies)]
    await eventually(lambda: all(len(mill.of(origin).records) > 1 for origin in origins), within_s=60)
    return origins


async def test_a_bulk_stream_is_parked_and_is_whole_afterwards(kafka: KafkaBroker, unique_name: Name) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), SMALL, slots=1, classes=CLASSES) as mill, running(mill):
        origins = await two_bulk_streams(mill, tokens=300)
        body = a_body(content="urgent", max_tokens=10, temperature=1)
        urgent = await mill.send("u", body, latency_class="realtime")
        await eventually(lambda: mill.ended(urgent), within_s=10)
        assert type(mill.of(urgent).end) is Completed
        assert not any(mill.ended(origin) for origin in origins)
        await eventually(lambda: mill.ended(*origins), within_s=60)
        told = [mill.of(origin) for origin in origins]
        assert [type(one.end) for one in told] == [Completed] * 2
        assert [len(one.token_ids) for one in told] == [300] * 2
        assert [one.voided for one in told] == [0, 0]
        assert sorted([record.mode for record in mill.started(origin)] for origin in origins) == [
            ["fresh"],
            ["fresh", "resume"],
        ]
        (again,) = [dispatch for dispatch in mill.dispatches if dispatch.hop]
        (before,) = [dispatch for dispatch in mill.dispatches if dispatch.origin == again.origin and not dispatch.hop]
        assert (again.hop, again.deadline_at_ms) == (1, before.deadline_at_ms)
        assert again.first_dispatched_at_ms is not None
        undisturbed = await two_bulk_streams(mill, tokens=300)
        await eventually(lambda: mill.ended(*undisturbed), within_s=60)
        assert [mill.of(origin).text for origin in undisturbed] == [one.text for one in told]


async def test_a_parked_request_that_does_not_stream_has_its_whole_answer(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), SMALL, slots=1, classes=CLASSES) as mill, running(mill):
        origins = await two_bulk_streams(mill, tokens=150, stream=False)
        urgent = await mill.send("u", a_body(max_tokens=10, temperature=1), latency_class="realtime")
        await eventually(lambda: mill.ended(urgent), within_s=10)
        await eventually(lambda: mill.ended(*origins), within_s=60)
        assert max(dispatch.hop for dispatch in mill.dispatches) == 1
        ends = [mill.of(origin).end for origin in origins]
        assert [end.usage.completion_tokens for end in ends] == [150, 150]
        undisturbed = await two_bulk_streams(mill, tokens=150, stream=False)
        await eventually(lambda: mill.ended(*undisturbed), within_s=60)
        assert [mill.of(o).whole_text for o in undisturbed] == [mill.of(o).whole_text for o in origins]


async def test_what_is_cancelled_while_it_is_parked_ends_with_what_it_has_used(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_mill(kafka.bootstrap, unique_name("m"), SMALL, slots=1, classes=CLASSES) as mill, running(mill):
        await two_bulk_streams(mill, tokens=1000)
        urgent = [a_body(content=f"u{i}", max_tokens=200, temperature=1) for i in range(2)]
        for i, body in enumerate(urgent):
            await mill.send(f"u{i}", body, latency_class="realtime", deadline_ms=60_000)

        async def both_parked() -> bool:
            mine = [row for row in mill.rows.get("requests", []) if row["model"] == mill.model]
            assert [row["outcome"] for row in mine] == ["parked"] * 2
            return True

        await eventually(both_parked, within_s=30)
        origins = [dispatch.origin for dispatch in mill.dispatches if dispatch.yields]
        for name in ("b0", "b1"):
            await mill.cancel(name)
        await eventually(lambda: mill.ended(*origins), within_s=20)
        ends = [mill.of(origin).end for origin in origins]
        assert [type(end) for end in ends] == [CancelledRequest] * 2
        assert all(end.usage.completion_tokens > 0 for end in ends)
