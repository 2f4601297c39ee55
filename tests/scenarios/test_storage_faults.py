"""The broker dies, its disk fills up, its retention is too short, ClickHouse is away: nothing that can be kept is lost.

Streams are under way whenever something breaks. One cluster serves all tests; each leaves it whole, but for a worker
that has been put out twice and begins again: requests name a deadline, so that they wait for it.
"""

import asyncio
import re
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from infra.devstack.ports import Ports
from infra.devstack.processes import Child
from infra.devstack.readiness import answers_ok
from pipeline.cli.probe import Probe
from pipeline.client import Client
from pipeline.demo.account import query
from pipeline.local.cluster import LocalCluster
from pipeline.runtime import kafka
from tests.eventually import eventually
from tests.scenarios.conftest import CONFIG
from tests.scenarios.wire import Wire, chat
from topics.names import Lane, origin_of

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

LANE = Lane("tiny", "interactive")
STREAMS = 12
TOKENS = 240
DEADLINE_MS = 90_000
SMALL_DISK_BYTES = 96 * 1024
"""No file of the broker may grow beyond it: enough for its start, not for the answers."""


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster whose account is a ClickHouse of its own, which can be taken away."""

    cluster: LocalCluster
    clickhouse: Child


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything started, with steps of 10 ms."""
    folder, ports = tmp_path_factory.mktemp("storage"), Ports()
    port = ports.claim()
    url = f"http://127.0.0.1:{port}"
    server = Child(
        name="clickhouse",
        command=(sys.executable, "-m", "sinks.clickhouse.http", "--path", folder / "server", "--port", str(port)),
        log=folder / "clickhouse.log",
        ready=answers_ok(f"{url}/ping"),
    )
    flags = (f'clickhouse.url="{url}"', 'deployments."tiny@v1".fixed_us=10000')
    cluster = LocalCluster(folder=folder / "cluster", config=CONFIG, flags=flags)
    try:
        server.start()
        with cluster:
            yield Site(cluster, server)
    finally:
        server.stop()
        ports.release()


class Streams:
    """Answers under way, each read by the SDK to its end."""

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self.gaps: list[str] = []

    async def read(self, client: Client, name: str) -> None:
        """Read one answer, and note what does not follow on what came before."""
        stream = client.stream(
            model="tiny", prompt=name, id=name, max_tokens=TOKENS, ignore_eos=True, deadline_ms=DEADLINE_MS
        )
        async for delta in stream:
            if delta.restarted or delta.seq != self.tokens.get(name, 0):
                self.gaps.append(f"{name}: {delta.seq} after {self.tokens.get(name, 0)} tokens")
            self.tokens[name] = delta.seq + len(delta.token_ids)


@asynccontextmanager
async def _streaming(cluster: LocalCluster, stem: str) -> AsyncIterator[Streams]:
    """Streams that are in mid-answer; they are read to their ends when the block ends."""
    streams = Streams()
    async with Client(kafka=cluster.settings.kafka) as client:
        names = [f"{stem}-{number}" for number in range(STREAMS)]
        reading = [asyncio.create_task(streams.read(client, name)) for name in names]
        try:
            await eventually(lambda: _all_began(cluster, streams, reading), within_s=60)
            yield streams
            async with asyncio.timeout(90):
                await asyncio.gather(*reading)
        finally:
            for task in reading:
                task.cancel()
    assert streams.gaps == []
    assert set(streams.tokens.values()) == {TOKENS}


def _all_began(cluster: LocalCluster, streams: Streams, reading: list[asyncio.Task[None]]) -> bool:
    """What has ended is started again, as a supervisor does: a broker that is away twice puts workers out twice.

    Raises:
        PipelineError: a stream has failed.
    """
    cluster.revive()
    for task in reading:
        if task.done():
            task.result()
    return len(streams.tokens) == STREAMS


async def _recorded(cluster: LocalCluster, stem: str) -> list[int]:
    """How many final rows each request of a test has in the account."""
    database = cluster.settings.clickhouse.database
    mine = f"final = 1 AND startsWith(request_id, '{stem}-')"
    answer = await query(
        cluster.settings, f"SELECT uniqExact(attempt) FROM {database}.requests WHERE {mine} GROUP BY request_id"
    )
    return [int(str(count)) for (count,) in answer.rows]


async def _all_recorded(cluster: LocalCluster, stem: str) -> None:
    async def is_recorded() -> bool:
        return await _recorded(cluster, stem) == [1] * STREAMS

    await eventually(is_recorded, within_s=60, every_s=0.5)


async def test_streams_outlive_a_broker_that_is_killed(site: Site) -> None:
    async with _streaming(site.cluster, "killed"):
        await asyncio.to_thread(site.cluster.broker.kill)
        await asyncio.to_thread(site.cluster.broker.start)
    await _all_recorded(site.cluster, "killed")


async def test_streams_outlive_a_broker_whose_disk_is_full(site: Site) -> None:
    broker = site.cluster.broker
    assert broker.child is not None
    async with _streaming(site.cluster, "full"):
        # Writes beyond the limit fail as they do where no space is left, and the broker gives up its log folder.
        resource.prlimit(broker.child.pid, resource.RLIMIT_FSIZE, (SMALL_DISK_BYTES, resource.RLIM_INFINITY))
        await eventually(lambda: not broker.alive, within_s=60)
        await asyncio.to_thread(broker.start)  # without the limit: there is space again
    await _all_recorded(site.cluster, "full")


async def test_a_clickhouse_that_is_away_delays_nothing_but_the_account(site: Site) -> None:
    recorder = site.cluster.children["recorder"]
    site.clickhouse.kill()
    async with _streaming(site.cluster, "away"):
        await eventually(lambda: "ClickHouse is away" in recorder.log_text(), within_s=30)
    async with Probe(site.cluster.settings) as probe:
        seen = (await probe.take()).clickhouse
    assert seen.version is None
    assert site.clickhouse.name in seen.problem.lower()
    assert recorder.alive

    await asyncio.to_thread(site.clickhouse.start)
    await _all_recorded(site.cluster, "away")
    assert "ClickHouse is back" in recorder.log_text()


async def _remove_records(cluster: LocalCluster, before: int) -> None:
    admin = kafka.admin(cluster.settings.kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(LANE.topic, 0): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def test_requests_that_retention_has_removed_are_skipped_and_told(site: Site) -> None:
    cluster = site.cluster
    (name,) = cluster.names("processor")
    async with Wire(cluster.settings) as wire:
        await wire.send(LANE, chat("the one before", max_tokens=2))
        await wire.answers([wire.produced[0]], within_s=60)
        await asyncio.to_thread(cluster.children[name].stop)
        for number in range(3):
            await wire.send(LANE, chat(f"question {number}", max_tokens=2))
        first = int(wire.produced[1].rpartition("/")[2])
        await _remove_records(cluster, first + 2)
        await asyncio.to_thread(cluster.restart, name)
        answers = await wire.answers([origin_of(LANE.topic, 0, first + 2)], within_s=60)
    assert answers[wire.produced[3]].outcome == "completed"
    assert not {wire.produced[1], wire.produced[2]} & answers.keys()
    said = cluster.children[name].log_text()
    skipped = re.search(rf"{LANE.topic}/0: offsets (\d+) to {first + 1} were removed before they were handled", said)
    assert skipped is not None, said
    assert int(skipped[1]) <= first  # on a busy machine the last commits may be missing: what they mean is gone as well
