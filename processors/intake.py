"""Fetched records on their way from the client to the agents: a bounded buffer per partition, served in turns.

aiokafka has one fetch in flight per broker and leaves out partitions whose records are unread. While such a fetch waits
for the idle lanes, a busy lane that has been read meanwhile waits with it. So records are taken from the client at once
and wait here, and every fetch asks for all partitions. Pure: whoever owns it moves the records and pauses partitions.
"""

from collections import deque
from typing import Any, Final, Generic, TypeVar

FULL: Final = 512
"""Records of one partition at which no more of it is fetched."""
LOW: Final = 128
"""Records at which it is fetched again: more than are handed on at once, so that a busy lane never runs dry."""

Partition = TypeVar("Partition")


class Intake(Generic[Partition]):
    """Records by partition, in their order."""

    def __init__(self) -> None:
        self._waiting: dict[Partition, deque[Any]] = {}
        self._full: set[Partition] = set()

    def put(self, fetched: dict[Partition, list[Any]]) -> list[Partition]:
        """Keep what was fetched; returns the partitions that are full now and were not."""
        for partition, records in fetched.items():
            self._waiting.setdefault(partition, deque()).extend(records)
        filled = [p for p in fetched if p not in self._full and len(self._waiting[p]) >= FULL]
        self._full.update(filled)
        return filled

    def take(self, wanted: set[Partition] | None, limit: int) -> dict[Partition, list[Any]]:
        """At most about `limit` records of the wanted partitions (None: of all), the same number of each."""
        able = [p for p, records in self._waiting.items() if records and (wanted is None or p in wanted)]
        share = max(1, limit // len(able)) if able else 0
        return {p: _first(self._waiting[p], share) for p in able}

    def drained(self) -> list[Partition]:
        """Partitions that were full and have room again; each is told once."""
        found = [p for p in self._full if len(self._waiting[p]) <= LOW]
        self._full.difference_update(found)
        return found

    def clear(self) -> None:
        """Forget everything: the partitions are given anew, and what was read is read again."""
        self._waiting.clear()
        self._full.clear()


def _first(records: deque[Any], count: int) -> list[Any]:
    return [records.popleft() for _ in range(min(count, len(records)))]
