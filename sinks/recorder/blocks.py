"""From messages to inserts: which rows go together, when, and in what order. Pure.

A block becomes one insert: messages of one table and one day, in the order in which they were read, none of them split.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from sinks.recorder.marks import DAY_MS, Mark, Marks, Stretch

FLUSH_S: Final = 2.0
"""Rows wait so long for others. An insert, its parts and their merges cost a tenth of a core a second, however few."""
FLUSH_ROWS: Final = 100_000
"""Every insert writes a part with its projections: of events, one core takes twice as many by 100,000 as by 20,000, and
hardly more by 200,000. One insert has to stay one part, which a server cuts at a million rows."""
FLUSH_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One trace message, its rows in the columns of its table.

    Attributes:
        kp: partition of the trace topic.
        ko: offset in it.
        log_ts_ms: the record's timestamp by the broker's clock.
        rows: at least one.
    """

    table: str
    kp: int
    ko: int
    log_ts_ms: int
    rows: pa.Table

    @property
    def stretch(self) -> Stretch:
        """What its mark is kept for."""
        return Stretch(self.table, self.log_ts_ms // DAY_MS, self.kp)

    @property
    def mark(self) -> Mark:
        """The mark of its stretch once it is stored."""
        return Mark(self.ko, self.log_ts_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one insert takes."""

    table: str
    day: int
    messages: tuple[Message, ...]

    @property
    def rows(self) -> int:
        """Rows of all its messages."""
        return sum(message.rows.num_rows for message in self.messages)

    def only_new(self, marks: Marks) -> "Block":
        """Without the messages that the table has; may be empty."""
        return replace(self, messages=tuple(m for m in self.messages if marks.is_new(m.stretch, m.ko)))

    def halves(self) -> "tuple[Block, Block]":
        """The earlier and the later half of at least two messages."""
        middle = len(self.messages) // 2
        return replace(self, messages=self.messages[:middle]), replace(self, messages=self.messages[middle:])

    def advance(self, marks: Marks) -> None:
        """Note that it is stored."""
        for message in self.messages:
            marks.advance(message.stretch, message.mark)

    @property
    def token(self) -> str:
        """Names its content: the same messages, and no others, have the same token."""
        return f"{self.table}:{self.day}:" + ",".join(f"{kp}:{_runs(offsets)}" for kp, offsets in self._offsets())

    def _offsets(self) -> Iterator[tuple[int, list[int]]]:
        by_partition: dict[int, list[int]] = {}
        for message in self.messages:
            by_partition.setdefault(message.kp, []).append(message.ko)
        yield from sorted(by_partition.items())


class Blocks:
    """Collects messages until they are worth an insert."""

    def __init__(self) -> None:
        self._messages: dict[tuple[str, int], list[Message]] = {}
        self._rows = 0
        self._bytes = 0
        self._due_at_s: float | None = None

    def add(self, message: Message, now_s: float) -> None:
        """Keep a message. Those of one topic partition come in order."""
        self._messages.setdefault((message.table, message.stretch.day), []).append(message)
        self._rows += message.rows.num_rows
        self._bytes += message.rows.get_total_buffer_size()
        self.touch(now_s)

    def touch(self, now_s: float) -> None:
        """Reading has moved on: there is a position to note, also where there was nothing to keep."""
        if self._due_at_s is None:
            self._due_at_s = now_s + FLUSH_S

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until the blocks are due: 0 if they are, None if there is nothing."""
        if self._due_at_s is None:
            return None
        if self._rows >= FLUSH_ROWS or self._bytes >= FLUSH_BYTES:
            return 0.0
        return max(self._due_at_s - now_s, 0.0)

    def take(self) -> list[Block]:
        """All that was collected, as blocks; the earlier day of a table comes first."""
        blocks = [Block(table=t, day=d, messages=tuple(m)) for (t, d), m in sorted(self._messages.items())]
        self.clear()
        return blocks

    def clear(self) -> None:
        """Forget all that was collected."""
        self._messages.clear()
        self._rows = self._bytes = 0
        self._due_at_s = None


def _runs(offsets: list[int]) -> str:
    """`3-5+9-9` for 3, 4, 5, 9."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset == runs[-1][1] + 1:
            runs[-1][1] = offset
        else:
            runs.append([offset, offset])
    return "+".join(f"{first}-{last}" for first, last in runs)
