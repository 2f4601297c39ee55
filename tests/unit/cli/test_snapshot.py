from typing import Any

import pytest
from aiokafka import TopicPartition

from pipeline.cli.snapshot import Fleet, Offsets, lane_status, serving
from tests.unit.cli.builders import a_heartbeat
from topics.fleet import LaneFigures, LaneReport, ModelFigures
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


def a_report(shard: int = 0, processor: str = "p1", **figures: Any) -> LaneReport:
    lane = LaneFigures(latency_class="bulk", **figures)
    return LaneReport(processor=processor, model="tiny", shard=shard, at_ms=1000, lanes=[lane])


def test_what_the_shards_of_a_lane_tell_is_put_together() -> None:
    fleet = Fleet()
    fleet.feed(a_report(queued=3, slack_ms=200, batch_size=8, size_limit=16, saturation=0.5), at_ms=1000)
    fleet.feed(
        a_report(1, "p2", queued=4, slack_ms=-50, batch_size=9, size_limit=16, saturation=0.9, is_paused=True),
        at_ms=1100,
    )

    outlook = fleet.outlook(LANE, now_ms=1200)

    assert outlook is not None
    assert (outlook.processors, outlook.queued, outlook.slack_ms) == (("p1", "p2"), 7, -50)
    assert (outlook.batch_size, outlook.saturation, outlook.is_paused) == (9, 0.9, True)


def test_the_newest_report_of_a_shard_counts() -> None:
    fleet = Fleet()
    fleet.feed(a_report(queued=3), at_ms=1000)
    fleet.feed(a_report(processor="p2"), at_ms=1100)

    outlook = fleet.outlook(LANE, now_ms=1200)

    assert outlook is not None
    assert (outlook.processors, outlook.queued, outlook.slack_ms) == (("p2",), 0, None)


def a_model(**changes: Any) -> ModelFigures:
    figures: dict[str, Any] = {
        "deployment": "tiny@v1",
        "shape_us": {"step": 10_000.0, "sequence": 30.0},
        "scale": 1.1,
        "safety": 1.0,
        "samples": 100,
        "error_ratio": 0.05,
    }
    return ModelFigures(**{**figures, **changes})


def test_of_what_shards_have_learned_the_one_that_saw_most_is_shown() -> None:
    fleet = Fleet()
    for shard, model in enumerate((a_model(samples=7), a_model(), None, a_model(deployment="tiny@v0", samples=3))):
        report = LaneReport(processor=f"p{shard}", model="tiny", shard=shard, at_ms=1000, lanes=[], latency_model=model)
        fleet.feed(report, at_ms=1000)

    shown = fleet.latency_models(now_ms=1200)

    assert [(model.deployment, model.processor, model.samples) for model in shown] == [
        ("tiny@v0", "p3", 3),
        ("tiny@v1", "p1", 100),
    ]
    assert (shown[1].shape_us, shown[1].scale, shown[1].error_ratio) == (a_model().shape_us, 1.1, 0.05)
    assert fleet.latency_models(now_ms=4001) == ()


@pytest.mark.parametrize(
    ("lane", "now_ms"), [(LANE, 4001), (Lane("tiny", "realtime"), 1000), (Lane("x", "bulk"), 1000)]
)
def test_a_lane_of_which_nobody_has_told_lately_has_no_outlook(lane: Lane, now_ms: int) -> None:
    fleet = Fleet()
    fleet.feed(a_report(), at_ms=1000)

    assert fleet.outlook(lane, now_ms=now_ms) is None
