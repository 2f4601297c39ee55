"""A modelled Kafka: partitions that are lists with offsets, and one consumer group that refuses former members.

Everything that happens is drawn from a string of bytes, so that Hypothesis can shorten what it found. A byte of 0 is
the undisturbed choice, and so is every one after the end of the string. Nothing here knows what the records mean.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from pipeline.worker.tracker import decode

T = TypeVar("T")
T0_MS = 1_800_000_000_000


class Violation(AssertionError):
    """Something was promised and not kept."""


class Restless(Violation):
    """What is to come to an end does not."""


class Choices:
    """Decisions, one byte each."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    @property
    def left(self) -> int:
        """Bytes that were not used."""
        return max(len(self._data) - self._next, 0)

    def byte(self) -> int:
        """The next byte; 0 after the last one."""
        at, self._next = self._next, self._next + 1
        return self._data[at] if at < len(self._data) else 0

    def of(self, options: Sequence[T]) -> T:
        """One of at most 256; the first is the undisturbed one."""
        return options[self.byte() * len(options) >> 8]

    def chance(self, ratio: float) -> bool:
        """Whether something rare happens."""
        return self.byte() >= 256 - ratio * 256


class Record(NamedTuple):
    """As a consumer gets it; `at_ms` is broker time."""

    offset: int
    at_ms: int
    key: bytes
    value: bytes


class Log:
    """One partition. What retention has taken away is not in `records` any more, and `first` is the offset after it."""

    def __init__(self) -> None:
        self.first = 0
        self.records: list[Record] = []

    @property
    def end(self) -> int:
        return self.first + len(self.records)

    def since(self, at_ms: int) -> int:
        """The first offset whose record is not older than a broker time."""
        return next((record.offset for record in self.records if record.at_ms >= at_ms), self.end)

    def read(self, offset: int, count: int) -> list[Record]:
        """Records from an offset on, or from the first one where that is gone."""
        begin = max(offset - self.first, 0)
        return self.records[begin : begin + count]

    def cut(self, offset: float) -> None:
        """Retention takes away what lies before an offset."""
        gone = int(min(max(offset - self.first, 0), len(self.records)))
        self.first += gone
        del self.records[:gone]


Place = tuple[str, int]
Entry = tuple[Place, bytes, bytes]
"""A record to be written: where to, its key, its value."""


class Broker:
    """All partitions, one clock, and batches that were given up by their producer and may still arrive."""

    def __init__(self) -> None:
        self.now_ms = T0_MS
        self.logs: dict[Place, Log] = {}
        self.late: list[list[Entry]] = []

    def log(self, place: Place) -> Log:
        return self.logs.setdefault(place, Log())

    def append(self, place: Place, key: bytes, value: bytes) -> Record:
        self.now_ms += 1
        log = self.log(place)
        record = Record(log.end, self.now_ms, key, value)
        log.records.append(record)
        return record

    def write(self, batch: list[Entry]) -> list[tuple[Place, Record]]:
        return [(place, self.append(place, key, value)) for place, key, value in batch]


Commit = tuple[int, str]
"""The first unfinished offset, and the metadata that names finished ones after it."""


def is_finished(commit: Commit, offset: int) -> bool:
    """Whether a successor would not run the record at an offset again."""
    base, metadata = commit
    return offset < base or offset in decode(base, metadata)[1]


class Group:
    """The coordinator of the workers' group.

    Attributes:
        fences: whether a commit of another generation, or of who is no member, is refused. True in Kafka.
    """

    fences = True

    def __init__(self, partitions: int) -> None:
        self.generation = 0
        self.members: list[str] = []
        self.committed: dict[int, Commit] = dict.fromkeys(range(partitions), (0, ""))

    def rebalance(self, members: list[str], shift: int) -> Iterator[tuple[str, set[int]]]:
        """A new generation: who is in it, and what each of them gets."""
        self.generation += 1
        self.members = members
        for index, member in enumerate(members):
            owned = {p for p in self.committed if (p + shift) % len(members) == index}
            yield member, owned

    def accepts(self, member: str, generation: int) -> bool:
        return not self.fences or (generation == self.generation and member in self.members)

    def commit(self, member: str, generation: int, offsets: Mapping[int, Commit]) -> bool:
        """Whether the commit was accepted."""
        if not self.accepts(member, generation):
            return False
        self.committed.update(offsets)
        return True
