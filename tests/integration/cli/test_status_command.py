import time

import msgspec
import pytest
from aiokafka import TopicPartition

from pipeline.runtime import kafka
from tests.integration.cli.conftest import Cluster
from tests.unit.cli.builders import a_heartbeat
from topics import names
from topics.codec import encode
from topics.fleet import LaneFigures, LaneReport

pytestmark = pytest.mark.integration


async def _arrive(cluster: Cluster, count: int) -> TopicPartition:
    """So many requests on the bulk lane."""
    topic = names.Lane(cluster.model, "bulk").topic
    producer = kafka.producer(cluster.settings.kafka, client_id="test")
    await producer.start()
    try:
        for _ in range(count):
            await producer.send_and_wait(topic, b'{"body": {"prompt": "x"}}', partition=0)
    finally:
        await producer.stop()
    return TopicPartition(topic, 0)


async def _beat(cluster: Cluster, *workers: str, state: str = "ready") -> None:
    """A heartbeat of each worker."""
    producer = kafka.producer(cluster.settings.kafka, client_id="test")
    await producer.start()
    try:
        for worker in workers:
            beat = a_heartbeat(
                worker,
                model=cluster.model,
                deployment=f"{cluster.model}@v1",
                state=state,
                at_ms=int(time.time() * 1000),
            )
            await producer.send_and_wait(names.workers_topic(cluster.model), encode(beat), key=worker.encode())
    finally:
        await producer.stop()


async def _tell(cluster: Cluster, *values: bytes) -> None:
    """Records among the heartbeats."""
    producer = kafka.producer(cluster.settings.kafka, client_id="test")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(names.workers_topic(cluster.model), value, key=b"k")
    finally:
        await producer.stop()


async def _commit(cluster: Cluster, partition: TopicPartition, offset: int) -> None:
    """What the model's processor has dispatched or answered."""
    group = kafka.consumer(cluster.settings.kafka, group=f"millrace.{cluster.model}", client_id="test")
    await group.start()
    try:
        group.assign([partition])
        await group.commit({partition: offset})
    finally:
        await group.stop()


async def test_status_tells_lag_arrivals_and_workers(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await cluster.with_topics()
    bulk = await _arrive(cluster, 10)
    await _commit(cluster, bulk, 4)
    await _beat(cluster, "w2", "w1")

    assert await cluster.millrace("status", "--json") == 0

    status = msgspec.json.decode(capsys.readouterr().out)
    lanes = {lane["latency_class"]: lane for lane in status["lanes"]}
    assert (lanes["bulk"]["arrived"], lanes["bulk"]["lag"], lanes["bulk"]["arrivals_per_s"]) == (10, 6, 1.0)
    assert (lanes["realtime"]["arrived"], lanes["realtime"]["lag"]) == (0, 0)
    assert [worker["worker"] for worker in status["workers"]] == ["w1", "w2"]
    assert status["workers"][0]["free_sequences"] == 13
    assert status["clickhouse"]["version"] is None
    assert "connection refused" in status["clickhouse"]["problem"]


async def test_status_of_a_lane_that_nobody_processes_counts_everything_as_lag(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()
    await _arrive(cluster, 3)

    assert await cluster.millrace("status", "--json") == 0

    lanes = msgspec.json.decode(capsys.readouterr().out)["lanes"]
    assert [lane["lag"] for lane in lanes if lane["latency_class"] == "bulk"] == [3]


async def test_status_tells_what_processors_tell_and_skips_what_it_does_not_know(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()
    lanes = [LaneFigures(latency_class="bulk", queued=7, slack_ms=1500, batch_size=3, size_limit=8, saturation=0.25)]
    report = LaneReport(processor="p1", model=cluster.model, shard=0, at_ms=1, lanes=lanes)
    await _tell(cluster, encode(report), b'{"type":"weather","sun":true}')
    await _beat(cluster, "w1")

    assert await cluster.millrace("status", "--json") == 0

    status = msgspec.json.decode(capsys.readouterr().out)
    outlooks = {lane["latency_class"]: lane["outlook"] for lane in status["lanes"]}
    assert (outlooks["bulk"]["queued"], outlooks["bulk"]["slack_ms"], outlooks["bulk"]["processors"]) == (
        7,
        1500,
        ["p1"],
    )
    assert outlooks["realtime"] is None
    assert [worker["worker"] for worker in status["workers"]] == ["w1"]


async def test_status_before_the_topics_are_made_says_so(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert await cluster.millrace("status") == 0

    said = capsys.readouterr().out
    assert "topics missing" in said
    assert "no workers" in said


async def test_a_worker_that_said_goodbye_is_not_shown(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await cluster.with_topics()
    await _beat(cluster, "w1")
    await _beat(cluster, "w1", state="stopped")

    assert await cluster.millrace("status", "--json") == 0
    assert msgspec.json.decode(capsys.readouterr().out)["workers"] == []


async def test_the_doctor_sees_topics_and_workers(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await cluster.with_topics()
    await _beat(cluster, "w1")

    assert await cluster.millrace("doctor", "--json") == 1

    states = {check["name"]: check["state"] for check in msgspec.json.decode(capsys.readouterr().out)}
    assert (states["Kafka"], states["topics"], states[f"workers {cluster.model}"]) == ("ok", "ok", "ok")
    assert states["ClickHouse"] == "fail"
