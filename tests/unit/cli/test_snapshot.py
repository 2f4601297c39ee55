from typing import Any

import pytest
from aiokafka import TopicPartition

from pipeline.cli.snapshot import Fleet, Offsets, lane_status, serving
from tests.unit.cli.builders import a_heartbeat
from topics.names import Lane

LANE = Lane("tiny", "bulk")
FIRST, SECOND = TopicPartition(LANE.topic, 0), TopicPartition(LANE.topic, 1)


def test_a_lane_adds_up_its_partitions_and_leaves_out_others() -> None:
    offsets = {
        FIRST: Offsets(beginning=0, end=100, recently=80),
        SECOND: Offsets(beginning=0, end=50, recently=50),
        TopicPartition("other", 0): Offsets(beginning=0, end=1000, recently=0),
    }

    lane = lane_status(LANE, offsets, {FIRST: 90, SECOND: 50, TopicPartition("other", 0): 0})

    assert (lane.arrived, lane.lag, lane.arrivals_per_s) == (150, 10, 2.0)


@pytest.mark.parametrize(("committed", "lag"), [(None, 70), (10, 70), (95, 5), (100, 0)])
def test_lag_counts_what_is_kept_and_not_committed(committed: int | None, lag: int) -> None:
    assert Offsets(beginning=30, end=100, recently=100).lag(committed) == lag


def test_the_newest_heartbeat_of_a_worker_counts() -> None:
    fleet = Fleet()
    fleet.feed(a_heartbeat(running=1), at_ms=1000)
    fleet.feed(a_heartbeat(running=5), at_ms=1200)

    (worker,) = fleet.workers(now_ms=1500)

    assert (worker.running, worker.age_s, worker.slots) == (5, 0.3, (0, 1))


def test_workers_are_sorted_by_deployment_and_name() -> None:
    fleet = Fleet()
    for name, deployment in (("b", "tiny@v1"), ("a", "tiny@v1"), ("z", "large@v1")):
        fleet.feed(a_heartbeat(name, deployment=deployment), at_ms=1000)

    assert [worker.worker for worker in fleet.workers(now_ms=1000)] == ["z", "a", "b"]


@pytest.mark.parametrize(
    ("fields", "now_ms", "shown", "served"),
    [
        ({}, 1100, True, True),
        ({}, 4001, True, False),
        ({}, 11_001, False, False),
        ({"state": "loading"}, 1100, True, False),
        ({"state": "stopped"}, 1100, False, False),
    ],
)
def test_who_is_shown_and_who_gets_work(fields: dict[str, Any], now_ms: int, shown: bool, served: bool) -> None:
    fleet = Fleet()
    fleet.feed(a_heartbeat(**fields), at_ms=1000)

    workers = fleet.workers(now_ms=now_ms)

    assert (bool(workers), bool(serving(workers))) == (shown, served)


def test_a_workers_clock_is_compared_with_the_brokers() -> None:
    fleet = Fleet()
    fleet.feed(a_heartbeat(at_ms=1_000_250), at_ms=1_000_000)

    assert fleet.workers(now_ms=1_000_000)[0].clock_ahead_ms == 250
