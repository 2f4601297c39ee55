"""One lane's queue: earliest deadline first, bounded by a gate that closes when it is full.

Tickets that leave from the middle are only marked; the heap drops them when they surface, or all at once when they
outnumber the waiting ones. Every operation is O(log n), amortised.
"""

import heapq
from typing import Final

from processors.queueing.ticket import Ticket

HYSTERESIS: Final = 50
"""The gate opens again when a fiftieth of the limit is free: small, so that a lane never runs dry while paused."""


class LaneQueue:
    """A bounded queue. Records that were fetched before the gate closed are still taken, so it may overshoot a little.

    Args:
        limit: tickets at which the gate closes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reopen_at = limit - max(1, limit // HYSTERESIS)
        self._heap: list[tuple[int, int, Ticket]] = []
        self._added = 0
        self._waiting = 0
        self.is_paused = False

    def __len__(self) -> int:
        return self._waiting

    @property
    def held(self) -> int:
        """Tickets in memory, waiting or not: at most twice the waiting ones and a small constant."""
        return len(self._heap)

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait. Equal deadlines keep the order in which they came."""
        self._added += 1
        self._waiting += 1
        heapq.heappush(self._heap, (ticket.deadline_at_ms, self._added, ticket))

    def head(self) -> Ticket | None:
        """The waiting ticket with the earliest deadline; it stays."""
        while self._heap and not self._heap[0][2].is_waiting:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def leave(self, ticket: Ticket) -> None:
        """A ticket waits no longer. It must be one that waits here."""
        assert ticket.is_waiting
        ticket.is_waiting = False
        self._waiting -= 1
        if self._heap[0][2] is ticket:
            heapq.heappop(self._heap)
        elif len(self._heap) > 2 * self._waiting + 64:
            self._heap = [entry for entry in self._heap if entry[2].is_waiting]
            heapq.heapify(self._heap)

    def gate_moves(self) -> bool:
        """Whether the lane has to be paused or resumed now; `is_paused` says which it is."""
        moves = self._waiting <= self._reopen_at if self.is_paused else self._waiting >= self._limit
        self.is_paused ^= moves
        return moves
