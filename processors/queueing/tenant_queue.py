"""What one tenant has waiting in one lane: earliest due time first.

The first entry always waits: tickets that leave from the middle are marked, and dropped when they surface, or all at
once when they outnumber the waiting ones.
"""

import heapq

from processors.queueing.counters import Counter
from processors.queueing.ticket import Ticket


class TenantQueue:
    """Used once: a lane makes another one when the tenant waits again.

    Attributes:
        counter: the tenant's, shared by all lanes.
        waiting: tickets that wait.
        listed: the newest entry of this queue in the lane's order of due times.
    """

    __slots__ = ("_heap", "counter", "listed", "waiting")

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.waiting = 0
        self.listed = 0
        self._heap: list[tuple[int, int, Ticket]] = []

    @property
    def held(self) -> int:
        """Tickets in memory: at most twice the waiting ones."""
        return len(self._heap)

    @property
    def head(self) -> Ticket:
        """The ticket that is due first. There must be one."""
        return self._heap[0][2]

    def add(self, ticket: Ticket, number: int) -> bool:
        """Let a ticket wait; those due at the same time go by number. Whether it is the first now."""
        self.waiting += 1
        heapq.heappush(self._heap, (ticket.due_at_ms, number, ticket))
        return self._heap[0][2] is ticket

    def leave(self, ticket: Ticket) -> None:
        """A ticket, marked already, waits no longer."""
        self.waiting -= 1
        heap = self._heap
        while heap and not heap[0][2].is_waiting:
            heapq.heappop(heap)
        if len(heap) > 2 * self.waiting:
            self._heap = [entry for entry in heap if entry[2].is_waiting]
            heapq.heapify(self._heap)
