"""When waiting tickets expire: their order by deadline, whatever lane and tenant they wait for."""

import heapq

from processors.queueing.ticket import Ticket


class Deadlines:
    """Tickets that left are dropped when they surface, or all at once when they outnumber the waiting ones."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Ticket]] = []
        self._added = 0

    @property
    def held(self) -> int:
        """Tickets in memory: at most twice the waiting ones and a small constant."""
        return len(self._heap)

    def add(self, ticket: Ticket) -> None:
        """A ticket waits."""
        self._added += 1
        heapq.heappush(self._heap, (ticket.deadline_at_ms, self._added, ticket))

    def first(self) -> Ticket | None:
        """The waiting ticket that expires first."""
        while self._heap and not self._heap[0][2].is_waiting:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def left(self, waiting: int) -> None:
        """A ticket waits no longer, and `waiting` still do."""
        if len(self._heap) > 2 * waiting + 64:
            self._heap = [entry for entry in self._heap if entry[2].is_waiting]
            heapq.heapify(self._heap)
