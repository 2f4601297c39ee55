"""Requests that joined a run while it waits in its lane: by identity for cancellations, by deadline for expiry."""

from collections.abc import Iterator

from processors.queueing.deadlines import Deadlines
from processors.queueing.ticket import Key, Ticket


class Waiting:
    """Held tickets. One that leaves has `is_waiting` false; its run finds out when it is dispatched."""

    def __init__(self) -> None:
        self._by_key: dict[Key, list[Ticket]] = {}
        self._deadlines = Deadlines()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, ticket: Ticket) -> None:
        """A ticket is held."""
        self._count += 1
        self._by_key.setdefault(ticket.key, []).append(ticket)
        self._deadlines.add(ticket)

    def leave(self, ticket: Ticket) -> bool:
        """It is held no longer; False where it was not."""
        same = self._by_key.get(ticket.key, [])
        others = [other for other in same if other is not ticket]
        if len(others) == len(same):
            return False
        ticket.is_waiting = False
        self._count -= 1
        if others:
            self._by_key[ticket.key] = others
        else:
            del self._by_key[ticket.key]
        self._deadlines.left(self._count)
        return True

    def of(self, key: Key) -> tuple[Ticket, ...]:
        """The held tickets of an identity."""
        return tuple(self._by_key.get(key, ()))

    def overdue(self, now_ms: int) -> Iterator[Ticket]:
        """Take out those whose deadline has passed, the earliest first."""
        while (first := self._deadlines.first()) is not None and first.deadline_at_ms <= now_ms:
            self.leave(first)
            yield first

    def next_deadline_ms(self) -> int | None:
        """The earliest deadline of a held ticket."""
        first = self._deadlines.first()
        return None if first is None else first.deadline_at_ms
