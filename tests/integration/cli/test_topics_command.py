import msgspec
import pytest

from pipeline.runtime import topics
from tests.integration.cli.conftest import Cluster
from topics.catalogue import catalogue
from topics.names import Lane, dispatch_topic

pytestmark = pytest.mark.integration


async def test_verify_fails_until_the_topics_are_made(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    before = await cluster.millrace("topics", "verify")
    created = await cluster.millrace("topics", "create")
    after = await cluster.millrace("topics", "verify")

    assert (before, created, after) == (1, 0, 0)
    captured = capsys.readouterr()
    assert "`millrace topics create` helps" in captured.err
    assert "created" in captured.out


async def test_verify_reports_every_topic_as_json(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await cluster.with_topics()

    assert await cluster.millrace("topics", "verify", "--json") == 0

    report = {entry["topic"]: entry for entry in msgspec.json.decode(capsys.readouterr().out)}
    slots = report[dispatch_topic(f"{cluster.model}@v1")]
    assert slots["is_right"] is True
    assert slots["partitions"] == slots["expected"]["partitions"] == 8


async def test_create_adds_partitions_to_a_topic_that_has_too_few(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.with_topics()
    name = cluster.model

    code = await cluster.millrace("--json", "topics", "create", "--set", f"models.{name}.shards=3")

    made = {entry["topic"]: entry["made"] for entry in msgspec.json.decode(capsys.readouterr().out)}
    assert (code, made[Lane(name, "bulk").topic]) == (0, "2 partitions added")


async def test_verify_sees_settings_that_differ(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await cluster.with_topics()
    wanted = f"classes.bulk.deadline_ms={3 * 86_400_000}"

    assert await cluster.millrace("topics", "verify", "--set", wanted) == 1

    assert "retention.ms is" in capsys.readouterr().out


async def test_a_broker_that_is_not_there_is_one_line(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert await cluster.millrace("topics", "verify", "--set", "kafka.brokers=127.0.0.1:1") == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("millrace: error: cannot reach Kafka at 127.0.0.1:1; ")
    assert captured.err.count("\n") == 1


async def test_create_twice_changes_nothing(cluster: Cluster) -> None:
    await cluster.with_topics()

    again = await topics.create(cluster.settings.kafka, catalogue(cluster.settings.layout()))

    assert [found.topic.name for found in again if not found.is_right] == []
