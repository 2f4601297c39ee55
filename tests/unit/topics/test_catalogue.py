"""Every topic once."""

import pytest

from topics import names
from topics.catalogue import HOUR_MS, Layout, ModelLayout, Topic, catalogue
from topics.codec import MAX_RECORD_BYTES, MAX_REQUEST_BYTES

MODEL = ModelLayout(model="m", classes=("interactive", "bulk"), deployments=("m@v1", "m@v2"), shards=4, slots=16)
LAYOUT = Layout(models=(MODEL,), pools=("acme",), response_partitions=8, trace_partitions=2)


def _topics() -> dict[str, Topic]:
    return {topic.name: topic for topic in catalogue(LAYOUT)}


def test_a_cluster_has_these_topics() -> None:
    assert [topic.name for topic in catalogue(LAYOUT)] == [
        "inference.requests.m.interactive",
        "inference.requests.m.bulk",
        "inference.dispatch.m.v1",
        "inference.dispatch.m.v2",
        "inference.workers.m",
        "inference.returns.m",
        "inference.responses",
        "inference.responses.acme",
        "inference.cancellations",
        "inference.control",
        "inference.trace",
        "inference.feedback",
        "inference.dlq",
    ]


def test_a_cluster_without_models_has_the_shared_topics() -> None:
    present = {topic.name for topic in catalogue(Layout(models=()))}
    shared = {names.CANCELLATIONS, names.CONTROL, names.TRACE, names.FEEDBACK, names.DEAD_LETTERS}
    assert present == {names.RESPONSES, *shared}


@pytest.mark.parametrize(
    ("topic", "partitions"),
    [
        ("inference.requests.m.interactive", 4),
        ("inference.requests.m.bulk", 4),
        ("inference.returns.m", 4),
        ("inference.dispatch.m.v1", 16),
        ("inference.workers.m", 1),
        ("inference.responses", 8),
        ("inference.responses.acme", 8),
        ("inference.trace", 2),
        ("inference.control", 1),
    ],
)
def test_partitions_are_owners_or_readers(topic: str, partitions: int) -> None:
    assert _topics()[topic].partitions == partitions


@pytest.mark.parametrize("topic", list(catalogue(LAYOUT)), ids=lambda topic: str(topic.name))
def test_every_topic_counts_broker_time_and_no_bytes(topic: Topic) -> None:
    assert topic.config["message.timestamp.type"] == "LogAppendTime"
    assert "retention.bytes" not in topic.config


def test_work_is_kept_for_longer_than_a_deadline_and_the_deduplication_window() -> None:
    layout = Layout(models=(MODEL,), longest_deadline_ms=48 * HOUR_MS, dedupe_window_ms=2 * HOUR_MS)
    kept = {topic.name: topic.retention_ms for topic in catalogue(layout)}
    work = ("inference.requests.m.bulk", "inference.dispatch.m.v1", "inference.responses", "inference.cancellations")
    assert all(kept[name] > 50 * HOUR_MS for name in work)


def test_control_is_compacted_and_never_expires() -> None:
    config = _topics()[names.CONTROL].config
    assert config["cleanup.policy"] == "compact"
    assert "retention.ms" not in config


def test_a_dispatch_of_the_largest_request_fits() -> None:
    assert MAX_RECORD_BYTES == 2 * MAX_REQUEST_BYTES
    assert _topics()["inference.dispatch.m.v1"].config["max.message.bytes"] == str(MAX_RECORD_BYTES)


def test_dead_letters_have_none_of_their_own() -> None:
    assert _topics()[names.DEAD_LETTERS].dead_letters is None
    assert _topics()["inference.requests.m.bulk"].dead_letters == names.DEAD_LETTERS
