"""What a client says about the cluster: lanes, partitions, outages."""

import logging

import pytest

from pipeline.client.lanes import explain, lanes_in
from pipeline.client.outages import OutageLog
from pipeline.client.partition import choose
from topics.errors import SettingsError
from topics.names import Lane

LANES = [Lane("a", "bulk"), Lane("a", "realtime"), Lane("b", "bulk")]


def test_lanes_are_found_among_all_topics() -> None:
    topics = ["inference.requests.b.bulk", "payments", "inference.responses", "inference.requests.a", LANES[0].topic]
    assert lanes_in(topics) == [Lane("a", "bulk"), Lane("b", "bulk")]


@pytest.mark.parametrize(
    ("lane", "known", "said"),
    [
        (Lane("c", "bulk"), LANES, "there is no model 'c'; there are: a, b"),
        (Lane("a", "urgent"), LANES, "model 'a' has no latency class 'urgent'; it has: bulk, realtime"),
        (Lane("c", "bulk"), [], "there is no model 'c'; there are: none"),
    ],
)
def test_a_missing_lane_is_explained_by_those_there_are(lane: Lane, known: list[Lane], said: str) -> None:
    assert explain(lane, known) == said


def test_a_partition_is_the_wanted_one_or_any() -> None:
    assert choose("t", 2, {0, 1, 2}) == 2
    assert choose("t", None, {0, 1, 2}) in {0, 1, 2}


@pytest.mark.parametrize(("wanted", "there"), [(3, {0, 1, 2}), (None, set()), (0, set())])
def test_a_partition_that_is_not_there_is_told(wanted: int | None, there: set[int]) -> None:
    with pytest.raises(SettingsError):
        choose("t", wanted, there)


def test_only_changes_of_reachability_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outages = OutageLog("kafka:9092")
    for is_reachable in (True, False, False, True, True):
        outages.report(is_reachable=is_reachable, waiting=3)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "kafka at kafka:9092 cannot be reached; 3 open requests wait for it"),
        ("INFO", "kafka at kafka:9092 is reachable again; 3 open requests go on"),
    ]


def test_repeats_of_the_kafka_client_are_held_back_for_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [0.0]
    outages = OutageLog("kafka:9092", clock=lambda: now_s[0])
    caplog.set_level(logging.ERROR, logger="aiokafka")
    chatty = logging.getLogger("aiokafka")
    outages.attach()
    for at_s in (0.0, 1.0, 59.0, 61.0):
        now_s[0] = at_s
        chatty.error("Unable connect to %s", at_s)
    outages.detach()
    chatty.error("Unable connect to %s", "detached")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["Unable connect to 0.0", "Unable connect to 61.0", "Unable connect to detached"]
