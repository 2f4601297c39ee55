"""When waiting tickets expire: their order by deadline, whatever lane and tenant they wait for."""

from collections import defaultdict

from processors.queueing.line import Line
from processors.queueing.ticket import Ticket


class Deadlines:
    """Of all lanes of a shard. The tickets of a class expire in the order in which they came, most of them."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, Line] = defaultdict(Line)
        self._added = 0

    @property
    def held(self) -> int:
        """Tickets in memory: at most twice the waiting ones and a small constant."""
        return sum([line.held for line in self._lines.values()])

    def add(self, ticket: Ticket) -> None:
        """A ticket waits."""
        self._added += 1
        self._lines[ticket.latency_class].put((ticket.deadline_at_ms, self._added, ticket))

    def first(self) -> Ticket | None:
        """The waiting ticket that expires first."""
        self._settle()
        firsts = [line.first for line in self._lines.values() if line.held]
        return min(firsts)[2] if firsts else None

    def left(self, waiting: int) -> None:
        """Some tickets wait no longer, and `waiting` still do."""
        self._settle()
        if self.held > 2 * waiting + 64:
            for line in self._lines.values():
                line.compact()

    def _settle(self) -> None:
        for line in self._lines.values():
            line.settle()
