from pathlib import Path

import msgspec
import pytest

from pipeline.cli.checks.cluster import clock_check, topics_check, workers_check
from pipeline.cli.checks.machine import (
    GIB,
    engine_check,
    extension_check,
    local_kafka_check,
    model_check,
    python_check,
    room_check,
    settings_check,
)
from pipeline.cli.main import main
from pipeline.cli.snapshot import Fleet, WorkerStatus
from pipeline.cli.views.doctor import check_lines
from pipeline.runtime.topics import Finding
from pipeline.settings import load
from tests.unit.cli.builders import a_heartbeat
from topics.catalogue import Topic

TOPIC = Topic(name="inference.trace", key="k", value="v", partitions=2, retention_ms=1)
MODEL = ('models.a.stable="a@v1"', 'deployments."a@v1".engine=simulated')


def workers(*, age_s: float = 0, state: str = "ready", ahead_ms: int = 0) -> tuple[WorkerStatus, ...]:
    fleet = Fleet()
    fleet.feed(a_heartbeat(state=state, at_ms=1000 + ahead_ms), at_ms=1000)
    return fleet.workers(now_ms=1000 + int(age_s * 1000))


@pytest.mark.parametrize(("version", "state"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 14), "ok")])
def test_python(version: tuple[int, int], state: str) -> None:
    assert python_check(version).state == state


def test_the_c_extension_is_active_here() -> None:
    assert extension_check().state == "ok"


@pytest.mark.parametrize(("gib", "state"), [(0.5, "fail"), (5, "warn"), (50, "ok")])
def test_room(gib: float, state: str) -> None:
    assert room_check("disk", int(gib * GIB), least_gib=2, enough_gib=10).state == state


@pytest.mark.parametrize(
    ("flags", "state", "said"),
    [
        (MODEL, "ok", "models: a; deployments: a@v1"),
        ((), "warn", "no models"),
        ((*MODEL, "kafka.brokers=k1:9092,k2:9092"), "warn", "one replica on a remote cluster"),
        ((*MODEL, "kafka.brokers=k1:9092", "kafka.replication=3"), "ok", ""),
        ((*MODEL, "classes.realtime.deadline_ms=100"), "warn", "class realtime has a deadline shorter than its SLO"),
    ],
)
def test_settings(flags: tuple[str, ...], state: str, said: str) -> None:
    check = settings_check(load(environ={}, flags=flags))

    assert check.state == state
    assert said in check.found


def test_what_only_some_machines_need_warns(tmp_path: Path) -> None:
    missing = tmp_path / "none"

    assert [engine_check(None).state, engine_check(missing).state] == ["warn", "ok"]
    assert [model_check("a@v1", missing).state, model_check("a@v1", tmp_path).state] == ["warn", "ok"]
    assert local_kafka_check(missing, tmp_path).state == "warn"
    assert local_kafka_check(tmp_path, missing).state == "warn"
    assert local_kafka_check(tmp_path, tmp_path).state == "ok"


@pytest.mark.parametrize(
    ("finding", "state"),
    [
        (Finding(topic=TOPIC, partitions=2), "ok"),
        (Finding(topic=TOPIC, partitions=0), "fail"),
        (Finding(topic=TOPIC, partitions=1), "fail"),
        (Finding(topic=TOPIC, partitions=2, differences=("x is 1, expected 2",)), "warn"),
    ],
)
def test_topics(finding: Finding, state: str) -> None:
    assert topics_check([finding]).state == state


@pytest.mark.parametrize(
    ("alive", "state"),
    [(workers(), "ok"), (workers(age_s=5), "warn"), (workers(state="loading"), "warn"), ((), "fail")],
)
def test_workers(alive: tuple[WorkerStatus, ...], state: str) -> None:
    assert workers_check("tiny", "tiny@v1", alive).state == state


def test_a_model_without_workers_says_what_to_start() -> None:
    assert workers_check("tiny", "tiny@v1", ()).mend == "millrace worker --deployment tiny@v1"


@pytest.mark.parametrize(
    ("ahead_ms", "worker_ms", "state"),
    [(None, 0, "warn"), (12, 3, "ok"), (-900, 0, "warn"), (12, 2000, "warn"), (12, -60_000, "fail")],
)
def test_clocks(ahead_ms: int | None, worker_ms: int, state: str) -> None:
    assert clock_check(ahead_ms, workers(ahead_ms=worker_ms)).state == state


def test_the_clock_that_differs_most_is_named() -> None:
    assert clock_check(12, workers(ahead_ms=-2000)).found == "w1 differs most from the broker: -2000 ms"


def test_how_to_mend_it_stands_under_what_is_wrong() -> None:
    lines = check_lines(workers_check("tiny", "tiny@v1", ())).plain.splitlines()

    assert lines[0].startswith("✗ workers tiny")
    assert lines[1].strip() == "→ millrace worker --deployment tiny@v1"


def test_settings_that_cannot_be_read_are_the_doctors_first_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--set", "nonsense=1"]) == 1

    (check,) = msgspec.json.decode(capsys.readouterr().out)
    assert (check["name"], check["state"]) == ("settings", "fail")
    assert "nonsense" in check["found"]


def test_without_a_cluster_the_doctor_fails_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--set", "kafka.brokers=127.0.0.1:1", "--set", "clickhouse.url=http://127.0.0.1:1"]

    assert main(["doctor", "--json", *flags]) == 1

    failed = {check["name"] for check in msgspec.json.decode(capsys.readouterr().out) if check["state"] == "fail"}
    assert {"Kafka", "ClickHouse"} <= failed
