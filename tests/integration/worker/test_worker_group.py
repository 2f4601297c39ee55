"""What a worker makes of a refused commit: news of its group, or of one that is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.devstack.kafka import KafkaBroker
from pipeline.worker.group import Group
from tests.eventually import eventually

pytestmark = pytest.mark.integration

NOTHING = {0: (0, "")}


@asynccontextmanager
async def a_member(kafka: KafkaBroker, topic: str) -> AsyncIterator[tuple[AIOKafkaConsumer, Group]]:
    """The only member of a group, with the only partition of a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, group_id=topic, enable_auto_commit=False, retry_backoff_ms=50
    )
    await consumer.start()
    try:
        await eventually(consumer.assignment, within_s=20)
        yield consumer, Group(consumer, topic=topic)
    finally:
        await consumer.stop()


async def test_a_commit_of_a_member_is_accepted(kafka: KafkaBroker, unique_name: Callable[[str], str]) -> None:
    async with a_member(kafka, unique_name("group")) as (_, group):
        assert await group.commit({0: (0, "marker")}, generation=group.generation)
        assert await group.committed([0]) == {0: (0, "marker")}


async def test_a_commit_that_follows_a_join_is_no_reason_to_join_again(
    kafka: KafkaBroker, unique_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker judges it when the join is over, and its generation with it."""
    async with a_member(kafka, unique_name("group")) as (consumer, group):
        coordinator, generation = consumer._coordinator, group.generation
        send, commits = coordinator._send_req, list[asyncio.Task[bool]]()

        async def sent(request: Any) -> Any:
            if type(request).__name__.startswith("JoinGroup"):  # the commit is written when this waits: after the join
                commits.append(asyncio.create_task(group.commit(NOTHING, generation=group.generation)))
            return await send(request)

        monkeypatch.setattr(coordinator, "_send_req", sent)
        coordinator.request_rejoin()
        await eventually(lambda: group.generation > generation and bool(consumer.assignment()), within_s=20)

        assert await commits[0] is False
        assert await eventually(lambda: group.commit(NOTHING, generation=group.generation), within_s=20)
        assert (group.generation, len(commits)) == (generation + 1, 1)


async def test_a_member_that_the_group_has_put_out_joins_again(
    kafka: KafkaBroker, unique_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_member(kafka, unique_name("group")) as (consumer, group):
        generation, member = group.generation, group.member
        monkeypatch.setattr(consumer._coordinator, "generation", generation + 7)

        assert await group.commit(NOTHING, generation=generation + 7) is False
        await eventually(lambda: group.member not in ("", member) and group.generation >= 0, within_s=20)
        assert await eventually(lambda: group.commit(NOTHING, generation=group.generation), within_s=20)
