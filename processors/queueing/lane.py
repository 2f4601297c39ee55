"""One lane's queue: fair between tenants, earliest due time first within one, bounded by a gate.

The tenant with the smallest virtual token counter goes first (`processors.queueing.counters`). Entries of the order of
tenants are lower bounds of counters, which only rise; they are corrected when they surface. Every operation is
O(log n), amortised.
"""

import heapq
from typing import Final

from processors.queueing.counters import PROMPT_WEIGHT, Counters
from processors.queueing.tenant_queue import TenantQueue
from processors.queueing.ticket import Ticket

HYSTERESIS: Final = 50
"""The gate opens again when a fiftieth of the limit is free: small, so that a lane never runs dry while paused."""


class LaneQueue:
    """A bounded queue. Records that were fetched before the gate closed are still taken, so it may overshoot a little.

    The order of dispatch is what repeated `head` and `leave` give.

    Args:
        limit: tickets at which the gate closes.
        counters: those of the shard's tenants; its own where none are given.

    Attributes:
        prompt_tokens: of all tickets that wait here.
        latest_due_ms: of all tickets that have come: when the last of those that wait is due at the latest.
    """

    def __init__(self, limit: int, counters: Counters | None = None) -> None:
        self._limit = limit
        self._reopen_at = limit - max(1, limit // HYSTERESIS)
        self._counters = Counters() if counters is None else counters
        self._tenants: dict[str, TenantQueue] = {}
        self._turns: list[tuple[float, int, TenantQueue]] = []
        self._dues: list[tuple[int, int, TenantQueue]] = []
        self._numbered = 0
        self._waiting = 0
        self.prompt_tokens = 0
        self.latest_due_ms = 0
        self.is_paused = False

    def __len__(self) -> int:
        return self._waiting

    @property
    def held(self) -> int:
        """Tickets in memory, waiting or not: at most twice the waiting ones."""
        return sum(queue.held for queue in self._tenants.values())

    @property
    def listed(self) -> int:
        """Entries of the orders of tenants: at most four times the waiting tickets and a small constant."""
        return len(self._turns) + len(self._dues)

    @property
    def tenants(self) -> int:
        """How many tenants have tickets here."""
        return len(self._tenants)

    def backlog(self, tenant: str) -> int:
        """How many tickets of a tenant wait here."""
        queue = self._tenants.get(tenant)
        return queue.waiting if queue else 0

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait. Equal due times of a tenant keep the order in which they came."""
        self._numbered += 1
        self._waiting += 1
        self.prompt_tokens += ticket.demand.prompt_tokens
        if ticket.due_at_ms > self.latest_due_ms:
            self.latest_due_ms = ticket.due_at_ms
        queue = self._tenants.get(ticket.tenant)
        if queue is None:
            queue = self._tenants[ticket.tenant] = TenantQueue(self._counters.begin(ticket.tenant))
            heapq.heappush(self._turns, (queue.counter.value, self._numbered, queue))
        if queue.add(ticket, self._numbered):
            queue.listed = self._numbered
            heapq.heappush(self._dues, (ticket.due_at_ms, self._numbered, queue))
            if len(self._dues) > 2 * self._waiting + 64:
                self._dues = [entry for entry in self._dues if _is_listed(entry)]
                heapq.heapify(self._dues)

    def head(self) -> Ticket | None:
        """The waiting ticket that goes first; it stays."""
        turns = self._turns
        while turns:
            value, number, queue = turns[0]
            if not queue.waiting:
                heapq.heappop(turns)
            elif queue.counter.value > value and len(turns) > 1:
                heapq.heapreplace(turns, (queue.counter.value, number, queue))
            else:
                return queue.head
        return None

    def earliest_due_ms(self) -> int | None:
        """When the first of all waiting tickets is due, whoever's turn it is."""
        dues = self._dues
        while dues:
            due_ms, number, queue = dues[0]
            if not _is_listed(dues[0]):
                heapq.heappop(dues)
            elif queue.head.due_at_ms > due_ms:
                heapq.heapreplace(dues, (queue.head.due_at_ms, number, queue))
            else:
                return due_ms
        return None

    def leave(self, ticket: Ticket, *, is_served: bool = True) -> None:
        """A ticket waits no longer. It must be one that waits here.

        Its tenant is charged for its prompt, so that the next `head` knows; not where it is not served (it was
        cancelled, dropped or expired), nor where it was served before (it came back from a worker).
        """
        assert ticket.is_waiting
        ticket.is_waiting = False
        self._waiting -= 1
        prompt_tokens = ticket.demand.prompt_tokens
        self.prompt_tokens -= prompt_tokens
        queue = self._tenants[ticket.tenant]
        queue.leave(ticket)
        if is_served and not ticket.hop:
            queue.counter.charge(PROMPT_WEIGHT * prompt_tokens)
        if not queue.waiting:
            self._forget(queue)

    def serve(self, ticket: Ticket) -> Ticket | None:
        """`leave` for the `head`, and who is the head then: the way in which batches are filled."""
        ticket.is_waiting = False
        self._waiting -= 1
        prompt_tokens = ticket.demand.prompt_tokens
        self.prompt_tokens -= prompt_tokens
        queue = self._turns[0][2]
        following = queue.serve(ticket)
        if not ticket.hop:
            queue.counter.charge(PROMPT_WEIGHT * prompt_tokens)
        if following is None:
            self._forget(queue)
        elif len(self._turns) == 1:
            return following
        return self.head()

    def gate_moves(self) -> bool:
        """Whether the lane has to be paused or resumed now; `is_paused` says which it is."""
        moves = self._waiting <= self._reopen_at if self.is_paused else self._waiting >= self._limit
        self.is_paused ^= moves
        return moves

    def _forget(self, queue: TenantQueue) -> None:
        del self._tenants[queue.counter.tenant]
        self._counters.finish(queue.counter)
        if self._turns[0][2] is queue:
            heapq.heappop(self._turns)
        elif len(self._turns) > 2 * len(self._tenants) + 64:
            self._turns = [entry for entry in self._turns if entry[2].waiting]
            heapq.heapify(self._turns)
        if self._dues[0][2] is queue:
            heapq.heappop(self._dues)


def _is_listed(entry: tuple[int, int, TenantQueue]) -> bool:
    _, number, queue = entry
    return queue.waiting > 0 and queue.listed == number
