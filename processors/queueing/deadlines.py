"""When waiting tickets expire: their order by deadline, whatever lane and tenant they wait for.

Most tickets of a class expire in the order in which they came, and stand in line; only one that expires before the last
of its line goes into a heap beside the lines. Those that left are dropped when they surface, or all at once when they
outnumber the waiting ones.
"""

import heapq
from collections import defaultdict, deque

from processors.queueing.ticket import Ticket

_Entry = tuple[int, int, Ticket]
"""When a ticket expires, its number, which no other has, and the ticket."""


class Deadlines:
    """Of all lanes of a shard."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, deque[_Entry]] = defaultdict(deque)
        self._early: list[_Entry] = []
        self._added = 0

    @property
    def held(self) -> int:
        """Tickets in memory: at most twice the waiting ones and a small constant."""
        return len(self._early) + sum(map(len, self._lines.values()))

    def add(self, ticket: Ticket) -> None:
        """A ticket waits."""
        self._added += 1
        entry, line = (ticket.deadline_at_ms, self._added, ticket), self._lines[ticket.latency_class]
        if not line or line[-1] < entry:
            line.append(entry)
        else:
            heapq.heappush(self._early, entry)

    def first(self) -> Ticket | None:
        """The waiting ticket that expires first."""
        self._drop()
        firsts = [line[0] for line in self._lines.values() if line]
        return min(firsts + self._early[:1])[2] if firsts or self._early else None

    def left(self, waiting: int) -> None:
        """Some tickets wait no longer, and `waiting` still do."""
        self._drop()
        if self.held > 2 * waiting + 64:
            for name, line in self._lines.items():
                self._lines[name] = deque(entry for entry in line if entry[2].is_waiting)
            self._early = [entry for entry in self._early if entry[2].is_waiting]
            heapq.heapify(self._early)

    def _drop(self) -> None:
        """Drop who has left from the fronts."""
        for line in self._lines.values():
            while line and not line[0][2].is_waiting:
                line.popleft()
        while self._early and not self._early[0][2].is_waiting:
            heapq.heappop(self._early)
