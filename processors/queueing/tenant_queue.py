"""What one tenant has waiting in one lane: earliest due time first."""

from processors.queueing.counters import Counter
from processors.queueing.line import Line
from processors.queueing.ticket import Ticket


class TenantQueue(Line):
    """Used once: a lane makes another one when the tenant waits again. The first of it always waits.

    Attributes:
        counter: the tenant's, shared by all lanes.
        waiting: tickets that wait; at most twice as many are held.
        listed: the newest entry of this queue in the lane's order of due times.
    """

    __slots__ = ("counter", "listed", "waiting")

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self.counter = counter
        self.waiting = 0
        self.listed = 0

    @property
    def head(self) -> Ticket:
        """The ticket that is due first. There must be one."""
        return self.first[2]

    def add(self, ticket: Ticket, number: int) -> bool:
        """Let a ticket wait; those due at the same time go by number. Whether it is the first now."""
        self.waiting += 1
        self.put((ticket.due_at_ms, number, ticket))
        return self.head is ticket

    def serve(self, ticket: Ticket) -> Ticket | None:
        """`leave` for the `head`, and who is the head then: the way in which batches are filled."""
        line = self._line
        if self._early or line[0][2] is not ticket:
            self.leave(ticket)
            return self.head if self.waiting else None
        self.waiting = waiting = self.waiting - 1
        line.popleft()
        while line and not line[0][2].is_waiting:
            line.popleft()
        if len(line) > 2 * waiting:
            self.compact()
        return self._line[0][2] if waiting else None

    def leave(self, ticket: Ticket) -> None:
        """A ticket, marked already, waits no longer."""
        self.waiting -= 1
        self.settle()
        if self.held > 2 * self.waiting:
            self.compact()
