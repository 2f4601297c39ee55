"""All lanes of one shard of a model: by class in order of priority, and by identity for cancellations."""

from collections.abc import Iterator, Mapping

from processors.queueing.lane import LaneQueue
from processors.queueing.ticket import Key, Ticket


class Queues:
    """The lanes.

    Args:
        limits: queue limit of each class, the most urgent class first.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.lanes = {name: LaneQueue(limit) for name, limit in limits.items()}
        self._lanes = tuple(self.lanes.values())
        self._by_key: dict[Key, list[Ticket]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait in the lane of its class."""
        self._waiting += 1
        self.lanes[ticket.latency_class].add(ticket)
        self._by_key.setdefault(ticket.key, []).append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """A waiting ticket waits no longer."""
        self.lanes[ticket.latency_class].leave(ticket)
        self._waiting -= 1
        same = self._by_key[ticket.key]
        same.remove(ticket)
        if not same:
            del self._by_key[ticket.key]

    def waiting(self, key: Key) -> tuple[Ticket, ...]:
        """The waiting tickets of one identity."""
        return tuple(self._by_key.get(key, ()))

    def next(self) -> Ticket | None:
        """The ticket to be released next: most urgent class first, earliest deadline within it."""
        for lane in self._lanes:
            head = lane.head()
            if head is not None:
                return head
        return None

    def overdue(self, now_ms: int) -> Iterator[Ticket]:
        """Take out the waiting tickets whose deadline has passed, by class and deadline."""
        for lane in self._lanes:
            while (head := lane.head()) is not None and head.deadline_at_ms <= now_ms:
                self.leave(head)
                yield head

    def next_deadline_ms(self) -> int | None:
        """Earliest deadline of a waiting ticket."""
        return min((head.deadline_at_ms for lane in self._lanes if (head := lane.head())), default=None)
