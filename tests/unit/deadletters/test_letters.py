"""Dead letters as values."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.deadletters.letters import Letter, Position, Wanted, is_mark, moment_ms
from topics.errors import SettingsError
from topics.headers import DLQ_REPLAYED, DLQ_REPLAYING, DLQ_TRUNCATED, Headers, dead_letter

LANE = "inference.requests.tiny.bulk"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def a_letter(*, original: Headers | None = None, value: bytes = b"{", **fields: Any) -> Letter:
    why = {"topic": LANE, "partition": 1, "offset": 7, "stage": "processor", "code": "undecodable", "message": "no"}
    headers = dead_letter(original or [], **{**why, **fields})
    return Letter(position=Position(0, 17), at_ms=1000, key=b"k", headers=headers, value=value, value_bytes=len(value))


def test_a_letter_says_where_it_comes_from_and_why() -> None:
    letter = a_letter()
    assert (letter.topic, letter.partition, letter.origin) == (LANE, 1, f"{LANE}/1/7")
    assert (letter.stage, letter.code, letter.message) == ("processor", "undecodable", "no")


def test_a_letter_without_a_reason_says_nothing() -> None:
    letter = Letter(position=Position(0, 1), at_ms=0, key=None, value=b"x", value_bytes=1)
    assert (letter.topic, letter.partition, letter.code, letter.missing_bytes) == ("", None, "", 0)


def test_original_headers_are_those_before_it_died_the_first_time() -> None:
    first = a_letter(original=[("traceparent", b"t"), ("x", b"1")])
    again = dead_letter([*first.headers, (DLQ_REPLAYED, b"inference.dlq/0/3")], **_where())
    letter = Letter(position=Position(0, 18), at_ms=0, key=None, headers=again, value=b"", value_bytes=0)
    assert letter.original_headers == [("traceparent", b"t"), ("x", b"1")]


def _where() -> dict[str, Any]:
    return {"topic": LANE, "partition": 1, "offset": 9, "stage": "worker", "code": "engine_error", "message": "again"}


def test_what_was_cut_off_is_counted() -> None:
    letter = a_letter(value=b"12345")
    letter.headers.append((DLQ_TRUNCATED, b"12"))
    assert letter.missing_bytes == 7


def test_marks_are_told_from_letters_that_were_replayed_before() -> None:
    assert is_mark([(DLQ_REPLAYED, b"inference.dlq/0/3")])
    assert is_mark([(DLQ_REPLAYING, b"inference.dlq/0/3")])
    assert not is_mark(a_letter(original=[(DLQ_REPLAYED, b"inference.dlq/0/3")]).headers)
    assert not is_mark([("x", b"")])


@pytest.mark.parametrize("text", ["3/17", "inference.dlq/3/17"])
def test_a_position_is_read_with_and_without_its_topic(text: str) -> None:
    position = Position.of(text)
    assert (position, str(position), position.address) == ((3, 17), "3/17", "inference.dlq/3/17")


@pytest.mark.parametrize("text", ["17", "a/b", "other.topic/3/17", "3/17/", "-1/4", "x/inference.dlq/3/17"])
def test_what_is_no_position_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match="no position; write partition/offset"):
        Position.of(text)


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(code="undecodable", topic=LANE, since_ms=1000), True),
        (Wanted(code="engine_error"), False),
        (Wanted(topic="inference.trace"), False),
        (Wanted(since_ms=1001), False),
    ],
)
def test_letters_are_chosen_by_code_topic_and_time(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(a_letter()) is takes


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", "2026-05-04T11:58:30+00:00"),
        ("7d", "2026-04-27T12:00:00+00:00"),
        ("2026-05-04T10:00", "2026-05-04T10:00:00+00:00"),
        ("2026-05-04T10:00+02:00", "2026-05-04T08:00:00+00:00"),
    ],
)
def test_a_moment_is_a_length_before_now_or_a_time(text: str, at: str) -> None:
    assert datetime.fromtimestamp(moment_ms(text, NOW) / 1000, UTC).isoformat() == at


def test_what_is_no_time_is_told() -> None:
    with pytest.raises(SettingsError, match="--since 'yesterday' is no time"):
        moment_ms("yesterday", NOW)
