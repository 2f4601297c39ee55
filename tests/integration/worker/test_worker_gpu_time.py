"""A worker's account of its GPU time, with engines that die under requests: every nanosecond in one place, no texts."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from infra.devstack.kafka import KafkaBroker
from pipeline.settings import SimulatedDeployment
from tests.eventually import eventually
from tests.integration.worker.workshop import a_worker, a_workshop, answers_of, records_of
from tests.unit.worker.builders import a_body
from topics import names
from topics.headers import TABLE, header
from topics.trace import decode_rows

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]

MORTAL = SimulatedDeployment(fixed_us=700, per_prefill_token_us=3, per_sequence_us=11, crash_every=12, seed=5)
SECRET = "the password is swordfish"


def rows_in(records: list[Any], table: str, model: str) -> list[dict[str, Any]]:
    """Rows of a table about a model, in the order of the log."""
    values = [record.value for record in records if header(list(record.headers), TABLE) == table.encode()]
    return [row for value in values for row in decode_rows(value).to_pylist() if row["model"] == model]


async def test_what_requests_are_told_to_have_used_is_what_the_engines_were_busy(
    kafka: KafkaBroker, unique_name: Name
) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m"), MORTAL) as shop, answers_of(shop) as answers:
        ids = [f"r{number}" for number in range(30)]
        async with records_of(shop, names.TRACE) as records:
            async with a_worker(shop) as stopped:
                await shop.owned(0)
                await shop.send(*(shop.dispatch(id_, body=a_body(content=SECRET)) for id_ in ids))
                await eventually(lambda: answers.ended(*ids), within_s=40)
                assert await stopped() == 0

            def told_the_end() -> bool:
                return any(row["state"] == "stopped" for row in rows_in(records, "gpu_samples", shop.model))

            await eventually(told_the_end, within_s=10)
            samples = rows_in(records, "gpu_samples", shop.model)
            attempts = rows_in(records, "requests", shop.model)

    assert [record for record in records if SECRET.encode() in record.value] == []
    assert {row["outcome"] for row in attempts} >= {"completed", "engine_dead"}
    assert sum(row["gpu_ns"] for row in attempts) == sum(row["busy_ns"] for row in samples) > 0
    assert sum(row["settled_ns"] for row in samples) == sum(row["busy_ns"] for row in samples)
    assert all(row["paid_ns"] == row["loading_ns"] + row["busy_ns"] + row["idle_ns"] for row in samples)
    assert all(new["since_ts"] == old["ts"] for old, new in pairwise(samples))
    assert {row["gpu"] for row in samples} == {"simulated"}
