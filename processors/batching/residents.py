"""Which classes have requests in which slots: the tightest promise among them bounds what else a worker may get.

Counted by slot, because slots move between workers with what is in them. Bounded: the oldest are forgotten first.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from processors.routing.worker import Worker

LIMIT: Final = 100_000
SLOTS_KEPT: Final = 1024
"""Slots that are known before those without requests are forgotten: deployments come and go."""


class Resident(NamedTuple):
    """A request in a slot. `due_in_s` is how long after it was put there its target is reached."""

    slot: int
    counts: list[int]
    rank: int
    due_in_s: float


class Residents:
    """Dispatched requests that are not known to have ended, by class.

    Args:
        classes: how many there are; a class is its rank in the order of priority.
        limit: requests that are known.
    """

    def __init__(self, classes: int, *, limit: int = LIMIT) -> None:
        self._classes = classes
        self._limit = limit
        self._by_origin: dict[str, Resident] = {}
        self._slots: dict[tuple[str, int], list[int]] = {}
        self._sweep_at = SLOTS_KEPT

    def __len__(self) -> int:
        return len(self._by_origin)

    @property
    def slots(self) -> int:
        """Slots that are known."""
        return len(self._slots)

    def add(self, origin: str, *, deployment: str, slot: int, rank: int, due_in_s: float) -> None:
        """A request of class `rank` was put into a slot; its former place counts no more."""
        self.remove(origin)
        counts = self._counts(deployment, slot)
        counts[rank] += 1
        self._by_origin[origin] = Resident(slot, counts, rank, due_in_s)
        if len(self._by_origin) > self._limit:
            self.remove(next(iter(self._by_origin)))

    def remove(self, origin: str) -> Resident | None:
        """A request has left its slot; None where it was in none."""
        resident = self._by_origin.pop(origin, None)
        if resident is None:
            return None
        resident.counts[resident.rank] -= 1
        return resident

    def of(self, worker: Worker) -> Sequence[int]:
        """Requests of each class in a worker. Not to be changed."""
        slots = worker.slots
        counts = self._counts(worker.heartbeat.deployment, slots[0])
        if len(slots) == 1:
            return counts
        counts = counts.copy()
        for slot in slots[1:]:
            for rank, count in enumerate(self._counts(worker.heartbeat.deployment, slot)):
                counts[rank] += count
        return counts

    def _counts(self, deployment: str, slot: int) -> list[int]:
        counts = self._slots.get((deployment, slot))
        if counts is None:
            if len(self._slots) >= self._sweep_at:
                self._slots = {key: known for key, known in self._slots.items() if any(known)}
                self._sweep_at = max(SLOTS_KEPT, 2 * len(self._slots))
            counts = self._slots[(deployment, slot)] = [0] * self._classes
        return counts
