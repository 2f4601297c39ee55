"""2,000 requests at 200/s while processor, worker and recorder are each killed once and the broker is restarted once.

What happens: every request ends exactly once by the reader rule and has its row. Requests that were in the worker when
it died go on at the next token; those in the processor are read again from their lanes; trace messages that the
recorder had not inserted are inserted by its successor.
"""

import asyncio

import pytest

from pipeline.demo.account import query
from pipeline.local.cluster import LocalCluster
from tests.eventually import eventually
from tests.scenarios.conftest import StartCluster
from tests.scenarios.wire import Wire, chat
from topics.names import Lane, origin_of

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

REQUESTS = 2000
LANE = Lane("tiny", "interactive")


async def _trouble(cluster: LocalCluster, wire: Wire) -> None:
    """Kill one after the other while requests arrive; the broker goes down in good order and comes back."""
    for produced, kind in ((300, "processor"), (700, "worker"), (1100, "recorder")):
        (name,) = cluster.names(kind)
        await eventually(lambda: len(wire.produced) >= produced, within_s=60)  # noqa: B023 - awaited at once
        cluster.children[name].kill()
        await asyncio.to_thread(cluster.restart, name)
    await asyncio.to_thread(cluster.broker.restart)


async def _rows(cluster: LocalCluster) -> set[str]:
    database = cluster.settings.clickhouse.database
    answer = await query(
        cluster.settings, f"SELECT lane_topic, lane_partition, lane_offset FROM {database}.requests WHERE final = 1"
    )
    return {origin_of(str(topic), int(str(p)), int(str(o))) for topic, p, o in answer.rows}


async def test_no_request_is_lost_while_every_process_dies_once(start_cluster: StartCluster) -> None:
    cluster = await asyncio.to_thread(start_cluster)
    values = [chat(f"question {i}", max_tokens=16, stream=True, deadline_ms=120_000) for i in range(REQUESTS)]

    async with Wire(cluster.settings) as wire:
        await asyncio.gather(wire.send_at(LANE, values, rps=200), _trouble(cluster, wire))
        answers = await wire.answers(wire.produced, within_s=120)

    assert len(wire.produced) == REQUESTS
    outcomes = {origin: answers[origin].outcome for origin in wire.produced if origin in answers}
    assert len(outcomes) == REQUESTS
    assert set(outcomes.values()) == {"completed"}
    assert all(answers[origin].accepted_terminals == 1 for origin in wire.produced)

    async def all_recorded() -> bool:
        return set(wire.produced) <= await _rows(cluster)

    await eventually(all_recorded, within_s=60, every_s=0.5)
