"""Names on the wire."""

import zlib

import pytest

from topics import names
from topics.names import Lane


@pytest.mark.parametrize("word", ["a", "smollm2", "gpt-4o-mini", "0", "a-1-b"])
def test_names_are_lower_case_words_with_single_hyphens(word: str) -> None:
    assert names.is_name(word)


@pytest.mark.parametrize("word", ["", "A", "a.b", "a_b", "-a", "a-", "a--b", "a b", "a\n", "é", "a@v1"])
def test_anything_else_is_no_name(word: str) -> None:
    assert not names.is_name(word)


def test_a_lane_is_one_topic_and_back() -> None:
    lane = Lane("smollm2", "interactive")
    assert lane.topic == "inference.requests.smollm2.interactive"
    assert Lane.of_topic(lane.topic) == lane


@pytest.mark.parametrize(
    "topic",
    ["inference.requests.a", "inference.requests.a.b.c", "inference.requests.A.b", "a.b", "inference.responses", ""],
)
def test_other_topics_are_no_lanes(topic: str) -> None:
    with pytest.raises(ValueError, match="is not a request topic"):
        Lane.of_topic(topic)


def test_a_deployment_is_a_model_and_a_version() -> None:
    assert names.model_of("smollm2@v1") == "smollm2"
    assert names.version_of("smollm2@v1") == "v1"
    assert names.dispatch_topic("smollm2@v1") == "inference.dispatch.smollm2.v1"


def test_topics_of_a_model() -> None:
    assert names.workers_topic("m") == "inference.workers.m"
    assert names.returns_topic("m") == "inference.returns.m"


def test_pools_have_response_topics_of_their_own() -> None:
    assert names.responses_topic() == "inference.responses"
    assert names.responses_topic("acme") == "inference.responses.acme"


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("inference.responses", True),
        ("inference.responses.acme", True),
        ("inference.responses.", False),
        ("inference.responses.a.b", False),
        ("inference.responsesx", False),
        ("inference.control", False),
        ("payments", False),
    ],
)
def test_replies_may_go_to_response_topics_only(topic: str, allowed: bool) -> None:
    assert names.is_responses_topic(topic) is allowed


def test_an_origin_can_be_taken_apart() -> None:
    origin = names.origin_of("inference.requests.m.bulk", 3, 17)
    assert origin == "inference.requests.m.bulk/3/17"
    assert names.split_origin(origin) == ("inference.requests.m.bulk", 3, 17)


@pytest.mark.parametrize("origin", ["", "a/b", "a/1/2/3", "a/x/1"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        names.split_origin(origin)


def test_an_id_is_made_of_the_address_where_none_is_given() -> None:
    assert names.default_id("inference.requests.m.bulk", 3, 17) == "inference.requests.m.bulk-3-17"


@pytest.mark.parametrize("request_id", ["order-42", "", "ключ", "x" * 256])
def test_the_reply_partition_is_crc32_of_the_id(request_id: str) -> None:
    assert names.reply_partition(request_id, 8) == zlib.crc32(request_id.encode("utf-8")) % 8


def test_the_reply_partition_is_the_one_librdkafka_computes() -> None:
    assert names.reply_partition("123456789", 1 << 32) == 0xCBF43926
