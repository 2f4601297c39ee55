"""What one tenant has waiting in one lane: earliest due time first.

Most tickets are due in the order in which they came, and stand in line; only one that is due before the last of the
line goes into a heap beside it. The first of each always waits: tickets that leave from the middle are marked, and
dropped when they surface, or all at once when they outnumber the waiting ones.
"""

import heapq
from collections import deque

from processors.queueing.counters import Counter
from processors.queueing.ticket import Ticket

_Entry = tuple[int, int, Ticket]
"""When a ticket is due, its number, which no other has, and the ticket."""


class TenantQueue:
    """Used once: a lane makes another one when the tenant waits again.

    Attributes:
        counter: the tenant's, shared by all lanes.
        waiting: tickets that wait.
        listed: the newest entry of this queue in the lane's order of due times.
    """

    __slots__ = ("_early", "_line", "counter", "listed", "waiting")

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.waiting = 0
        self.listed = 0
        self._line: deque[_Entry] = deque()
        self._early: list[_Entry] = []

    @property
    def held(self) -> int:
        """Tickets in memory: at most twice the waiting ones."""
        return len(self._line) + len(self._early)

    @property
    def head(self) -> Ticket:
        """The ticket that is due first. There must be one."""
        line, early = self._line, self._early
        return early[0][2] if early and (not line or early[0] < line[0]) else line[0][2]

    def add(self, ticket: Ticket, number: int) -> bool:
        """Let a ticket wait; those due at the same time go by number. Whether it is the first now."""
        self.waiting += 1
        entry, line = (ticket.due_at_ms, number, ticket), self._line
        if not line or line[-1] < entry:
            line.append(entry)
        else:
            heapq.heappush(self._early, entry)
        return self.head is ticket

    def serve(self, ticket: Ticket) -> Ticket | None:
        """`leave` for the `head`, and who is the head then."""
        line = self._line
        if self._early or line[0][2] is not ticket:
            self.leave(ticket)
            return self.head if self.waiting else None
        self.waiting = waiting = self.waiting - 1
        line.popleft()
        while line and not line[0][2].is_waiting:
            line.popleft()
        if len(line) > 2 * waiting:
            self._compact()
        return self._line[0][2] if waiting else None

    def leave(self, ticket: Ticket) -> None:
        """A ticket, marked already, waits no longer."""
        self.waiting = waiting = self.waiting - 1
        line, early = self._line, self._early
        while line and not line[0][2].is_waiting:
            line.popleft()
        while early and not early[0][2].is_waiting:
            heapq.heappop(early)
        if len(line) + len(early) > 2 * waiting:
            self._compact()

    def _compact(self) -> None:
        self._line = deque(entry for entry in self._line if entry[2].is_waiting)
        self._early = [entry for entry in self._early if entry[2].is_waiting]
        heapq.heapify(self._early)
