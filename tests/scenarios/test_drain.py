"""A worker is drained while its clients read: its streams go on elsewhere at the next token, the others undisturbed."""

import asyncio
from collections import defaultdict

import pytest

from pipeline.cli.drain import drain
from pipeline.client import Client
from pipeline.local.cluster import LocalCluster
from pipeline.local.plan import Size
from pipeline.runtime.reading import begin, existing_partitions, read_to, reader
from tests.eventually import eventually
from tests.scenarios.conftest import StartCluster
from topics import names
from topics.codec import decode_response
from topics.responses import Started

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

STREAMS = 18
TOKENS = 300
SLOW = 'deployments."tiny@v1".fixed_us=10000'


async def _read(client: Client, name: str, read: dict[str, int]) -> None:
    """Read one answer; a piece that does not follow on what came before is a failure."""
    async for delta in client.stream(model="tiny", prompt=name, id=name, max_tokens=TOKENS, ignore_eos=True):
        assert (delta.restarted, delta.seq) == (False, read.get(name, 0))
        read[name] = delta.seq + len(delta.token_ids)


async def _modes(cluster: LocalCluster) -> dict[str, list[str]]:
    """How the attempts at each request began."""
    modes: dict[str, list[str]] = defaultdict(list)
    async with reader(cluster.settings.kafka, client_id="scenario-modes") as log:
        ends = await begin(log, await existing_partitions(log, [names.RESPONSES]))
        async for records in read_to(log, ends):
            for record in map(decode_response, (record.value for record in records)):
                if isinstance(record, Started):
                    modes[record.id].append(record.mode)
    return modes


async def test_streams_of_a_drained_worker_go_on_at_the_next_token(start_cluster: StartCluster) -> None:
    cluster = await asyncio.to_thread(start_cluster, SLOW, "models.tiny.slots=6", size=Size(workers=3))
    leaver, *_ = cluster.names("worker")
    read: dict[str, int] = {}
    async with Client(kafka=cluster.settings.kafka) as client:
        reading = [asyncio.create_task(_read(client, f"r{number}", read)) for number in range(STREAMS)]
        await eventually(lambda: len(read) == STREAMS, within_s=60)

        drained = await drain(cluster.settings, leaver, grace_s=0, timeout_s=60)

        async with asyncio.timeout(90):
            await asyncio.gather(*reading)
    assert drained.state == "stopped"
    assert 0 < drained.handed_back < STREAMS
    assert await asyncio.to_thread(cluster.children[leaver].wait, within_s=20) == 0
    assert set(read.values()) == {TOKENS}
    modes = await _modes(cluster)
    moved = sum(mode == ["fresh", "resume"] for mode in modes.values())
    assert 0 < moved <= drained.handed_back  # what ended at that moment has nothing to go on with
    assert list(modes.values()).count(["fresh"]) == STREAMS - moved
    assert cluster.revive() == []
