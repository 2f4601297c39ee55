from datetime import UTC, datetime

import pytest

from pipeline.report.ranges import BUCKETS, Range, range_of
from topics.errors import SettingsError

NOW = datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)


def asked(since: str | None = None, until: str | None = None, last: str | None = None) -> Range:
    return range_of(since=since, until=until, last=last, now=NOW)


def test_an_hour_up_to_now_is_the_default_and_contains_now() -> None:
    assert asked().words == "2026-01-31 11:00:00 to 12:00:01 UTC"


@pytest.mark.parametrize(("last", "length_s"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("7d", 604_800)])
def test_lengths(last: str, length_s: int) -> None:
    assert asked(until="2026-01-31T12:00", last=last).length_s == length_s


def test_times_without_a_zone_are_utc() -> None:
    assert asked("2026-01-31T08:00", "2026-01-31T11:00:00+02:00").words == "2026-01-31 08:00:00 to 09:00:00 UTC"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"since": "2026-01-30", "last": "1h"}, "give one of them"),
        ({"since": "yesterday"}, "--from 'yesterday' is no ISO 8601 time"),
        ({"last": "1 hour"}, "write 90s, 30m, 1h or 7d"),
        ({"last": "0h"}, "is no length of time"),
        ({"since": "2026-01-31T09:00", "until": "2026-01-31T08:00"}, "is empty"),
    ],
)
def test_wrong_flags_say_what_would_be_right(flags: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        asked(**flags)


@pytest.mark.parametrize("length_s", [1, 59, 3600, 86_400, 90 * 86_400, 400 * 86_400])
def test_a_range_is_drawn_in_few_steps_that_cover_it(length_s: int) -> None:
    span = Range(from_s=1_795_000_000, to_s=1_795_000_000 + length_s).span

    assert 1 <= len(span.starts) <= BUCKETS
    assert span.starts[-1] + span.step_s >= span.to_s
