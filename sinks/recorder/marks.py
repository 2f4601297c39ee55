"""High-water marks: which messages of the trace topic the tables already hold. Pure.

The tables are their own offset store. Every row carries the partition and offset of its message, a message is never
split over two inserts, and messages of one partition are inserted in order; so for each table, day and topic partition
everything up to the highest offset found is there and nothing above it is. The day is that of the record's own
timestamp, because one insert is only atomic within one partition of a table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from topics.errors import SettingsError

DAY_MS: Final = 86_400_000


class Stretch(NamedTuple):
    """What a mark is kept for: the messages of one topic partition and one day (UTC, days since the epoch) in a table.

    `kp` is the partition of the trace topic.
    """

    table: str
    day: int
    kp: int


class Mark(NamedTuple):
    """The newest message that a stretch of a table holds: its offset and its timestamp in milliseconds."""

    ko: int
    log_ts_ms: int


class Marks:
    """The marks of all tables. Starts empty: nothing is there."""

    def __init__(self) -> None:
        self._marks: dict[Stretch, Mark] = {}

    def replace(self, table: str, found: Iterable[tuple[Stretch, Mark]]) -> None:
        """Put what was read from a table in place of everything known about it."""
        kept = {stretch: mark for stretch, mark in self._marks.items() if stretch.table != table}
        self._marks = {**kept, **dict(found)}

    def advance(self, stretch: Stretch, mark: Mark) -> None:
        """Everything up to `mark` is in the table now. Going back is ignored."""
        known = self._marks.get(stretch)
        if known is None or mark.ko > known.ko:
            self._marks[stretch] = mark

    def is_new(self, stretch: Stretch, ko: int) -> bool:
        """Whether the message at offset `ko` is not in its table yet."""
        known = self._marks.get(stretch)
        return known is None or ko > known.ko

    def check_same_log(self, stretch: Stretch, ko: int, log_ts_ms: int) -> None:
        """A message that seems to be stored already cannot be younger than the newest stored one.

        Raises:
            SettingsError: it is, so the rows are of another log: the topic was made anew, or the broker is another one.
        """
        known = self._marks.get(stretch)
        if known is not None and ko <= known.ko and log_ts_ms > known.log_ts_ms:
            raise foreign_log(stretch.kp, f"offset {ko} is younger than the recorded offset {known.ko}")

    def highest(self, kp: int) -> int:
        """Highest offset of a topic partition in any table, -1 for none."""
        return max((mark.ko for stretch, mark in self._marks.items() if stretch.kp == kp), default=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where reading a partition begins. `lost` messages before it were never recorded: retention has removed them."""

    offset: int
    lost: int


def start_of(kp: int, *, marks: Marks, positions: Mapping[int, int], begins: int, ends: int) -> Start:
    """Where to begin in a topic partition.

    Args:
        kp: the partition.
        marks: of all tables.
        positions: by partition, the offset below which all tables are complete; may be behind.
        begins: first offset that the broker still has.
        ends: offset that the next message will get.

    Raises:
        SettingsError: the tables have messages that the log never had.
    """
    position = positions.get(kp, 0)
    recorded = max(position, marks.highest(kp) + 1)
    if recorded > ends:
        raise foreign_log(kp, f"rows are there up to offset {recorded - 1}, the log ends before {ends}")
    has_history = kp in positions or marks.highest(kp) >= 0
    lost = max(begins - max(position, marks.highest(kp) + 1), 0) if has_history else 0
    return Start(offset=max(position, begins), lost=lost)


def foreign_log(kp: int, what: str) -> SettingsError:
    """The error of an account that was kept of another log than the one that is read."""
    return SettingsError(
        f"the account does not belong to this trace topic (partition {kp}): {what}; the topic was made anew or the "
        "broker is another one. Choose another clickhouse.database, or drop this one"
    )
