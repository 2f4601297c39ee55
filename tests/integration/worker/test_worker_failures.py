"""A worker that can no longer do its part ends, so that its supervisor starts another one."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.consumer.fetcher import Fetcher

from infra.devstack.kafka import KafkaBroker
from pipeline.runtime import tracing
from pipeline.worker.main import main
from tests.integration.worker.workshop import a_workshop

pytestmark = [pytest.mark.integration, pytest.mark.slow]
Name = Callable[[str], str]


@pytest.mark.parametrize(
    ("part", "name", "complaint"),
    [
        (Fetcher, "_get_actions_per_node", "the client stopped fetching"),
        (tracing, "pack", "the trace is no longer shipped"),
    ],
)
async def test_a_worker_ends_with_an_error_when_a_part_has_died(
    kafka: KafkaBroker,
    unique_name: Name,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: object,
    name: str,
    complaint: str,
) -> None:
    async with a_workshop(kafka.bootstrap, unique_name("m")) as shop:
        worker = asyncio.ensure_future(main(shop.settings, shop.deployment, asyncio.Event(), worker_id="w"))
        await shop.owned(0)
        monkeypatch.setattr(part, name, None)
        await shop.send(shop.dispatch("r"))
        assert await asyncio.wait_for(worker, 30) == 1
    assert f"worker w cannot go on: {complaint}" in caplog.text
