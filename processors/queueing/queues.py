"""All lanes of one shard of a model: by class in order of priority, and by identity for cancellations.

Whoever leaves is only counted, so that a batch is sent without delay. The index forgets them as others come and as time
passes, a few at a time: it holds those who wait and those who left lately.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from processors.policy import ANY_TENANT, EVERY_TENANT, TenantPolicy
from processors.queueing.counters import Counters
from processors.queueing.deadlines import Deadlines
from processors.queueing.lane import LaneQueue
from processors.queueing.ticket import Key, Ticket

FORGOTTEN_AT_ONCE: Final = 4
"""Who left is forgotten twice as fast as others come, or faster."""


class Queues:
    """The lanes, fair between tenants across them: a tenant's service counts whatever class it was for.

    Only lanes that yield count for themselves. Tenants may wait there for hours: whoever began to wait elsewhere would
    be lifted to a counter of hours ago, and have all to itself until it has caught up.

    Args:
        limits: queue limit of each class, the most urgent class first.
        tenants: those with a weight of their own, by name; `"*"` is for all others.
        yielding: classes that fill what the others leave.

    Attributes:
        counters: what each tenant was served, by class.
    """

    def __init__(
        self,
        limits: Mapping[str, int],
        tenants: Mapping[str, TenantPolicy] | None = None,
        *,
        yielding: Collection[str] = (),
    ) -> None:
        weights = {name: tenant.weight for name, tenant in (tenants or {}).items()}
        default_weight = weights.get(ANY_TENANT, EVERY_TENANT.weight)
        shared = Counters(weights, default_weight=default_weight)
        self.counters = {
            name: Counters(weights, default_weight=default_weight) if name in yielding else shared for name in limits
        }
        self.lanes = {name: LaneQueue(limit, self.counters[name]) for name, limit in limits.items()}
        self._lanes = tuple(self.lanes.values())
        self._by_key: dict[Key, Ticket | list[Ticket]] = {}
        self._left: deque[Ticket] = deque()
        self._deadlines = Deadlines()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait in the lane of its class."""
        self._forget()
        self._waiting += 1
        self.lanes[ticket.latency_class].add(ticket)
        self._deadlines.add(ticket)
        same = self._by_key.setdefault(ticket.key, ticket)
        if isinstance(same, list):
            same.append(ticket)
        elif same is not ticket:
            self._by_key[ticket.key] = [same, ticket]

    def leave(self, ticket: Ticket, *, is_served: bool = True) -> None:
        """A waiting ticket waits no longer; its tenant is charged for its prompt if it `is_served`."""
        self.lanes[ticket.latency_class].leave(ticket, is_served=is_served)
        self.left((ticket,))

    def left(self, tickets: Sequence[Ticket]) -> None:
        """Tickets have left their lanes: a batch is filled lane by lane, and counted here when it is full."""
        self._waiting -= len(tickets)
        self._left += tickets

    def waiting(self, key: Key) -> tuple[Ticket, ...]:
        """The waiting tickets of one identity."""
        same = self._by_key.get(key, [])
        return tuple(ticket for ticket in (same if isinstance(same, list) else [same]) if ticket.is_waiting)

    def next(self) -> Ticket | None:
        """The ticket to be released next: of the most urgent class, of the tenant that had least, the one due first."""
        for lane in self._lanes:
            head = lane.head()
            if head is not None:
                return head
        return None

    def overdue(self, now_ms: int) -> Iterator[Ticket]:
        """Take out the waiting tickets whose deadline has passed, the earliest deadline first."""
        self._forget()
        self._deadlines.left(self._waiting)
        while (first := self._deadlines.first()) is not None and first.deadline_at_ms <= now_ms:
            self.leave(first, is_served=False)
            yield first

    def next_deadline_ms(self) -> int | None:
        """Earliest deadline of a waiting ticket."""
        first = self._deadlines.first()
        return None if first is None else first.deadline_at_ms

    def _forget(self) -> None:
        """Forget some of those who have left."""
        for _ in range(min(FORGOTTEN_AT_ONCE, len(self._left))):
            ticket = self._left.popleft()
            same = self._by_key.pop(ticket.key)
            if isinstance(same, list):
                same.remove(ticket)
                self._by_key[ticket.key] = same if len(same) > 1 else same[0]
