"""Which time a report is about, and in which steps it is drawn. Pure: the present is passed in."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.report.plots.frame import Span
from topics.errors import SettingsError

BUCKETS: Final = 72
"""At most so many points on a line: more do not fit its width."""
_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)\Z")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """From (with) to (without), whole seconds since the epoch."""

    from_s: int
    to_s: int

    @property
    def length_s(self) -> int:
        """At least 1."""
        return self.to_s - self.from_s

    @property
    def span(self) -> Span:
        """The range in steps of a round length, at most `BUCKETS` of them; the last may be shorter."""
        days = -(-self.length_s // (BUCKETS * 86_400))
        step_s = next((step for step in _STEPS_S if step * BUCKETS >= self.length_s), days * 86_400)
        return Span(from_s=self.from_s, to_s=self.to_s, step_s=step_s)

    @property
    def words(self) -> str:
        """Both ends in UTC, the date of the second only where it differs."""
        first, last = datetime.fromtimestamp(self.from_s, UTC), datetime.fromtimestamp(self.to_s, UTC)
        end = f"{last:%H:%M:%S}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M:%S}"
        return f"{first:%Y-%m-%d %H:%M:%S} to {end} UTC"


def range_of(*, since: str | None, until: str | None, last: str | None, now: datetime) -> Range:
    """The range that flags ask for: `last` before now or `until`, or from `since` to now or `until`.

    Raises:
        SettingsError: a time or length cannot be read, both `since` and `last` are given, or nothing is in between.
    """
    if since is not None and last is not None:
        raise SettingsError("--from and --last both say where the range begins; give one of them")
    end = _moment("--to", until) if until is not None else now
    begin = _moment("--from", since) if since is not None else end - _length(last or "1h")
    found = Range(from_s=int(begin.timestamp()), to_s=-int(-end.timestamp() // 1))
    if found.length_s < 1:
        raise SettingsError(f"the range from {begin:%Y-%m-%dT%H:%M:%S} to {end:%Y-%m-%dT%H:%M:%S} UTC is empty")
    return found


def _moment(flag: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(
            f"{flag} {text!r} is no ISO 8601 time; write 2026-01-31T13:30 (UTC) or name a zone"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _length(text: str) -> timedelta:
    match = _LENGTH.match(text)
    if match is None or float(match[1]) <= 0:
        raise SettingsError(f"--last {text!r} is no length of time; write 90s, 30m, 1h or 7d")
    return timedelta(seconds=float(match[1]) * _UNIT_S[match[2]])
