"""Virtual token counters: who of the tenants that wait has had the least, relative to their weights.

A tenant's counter rises with what it is served, divided by its weight; whoever waits with the smallest counter goes
next. A tenant that begins to wait is lifted to the smallest counter among those that wait already: what it did not use
while it was away is not saved up. So the service of two tenants that both wait differs, per weight, by no more than
`2 * max(PROMPT_WEIGHT * longest prompt, COMPLETION_WEIGHT * tokens in the engines)`, however long they wait.

Source: Sheng et al., Fairness in Serving Large Language Models (VTC), OSDI 2024, arXiv 2401.00588, algorithm 2 and
theorem 4.4.

Counters never go back: a refund is taken off the charges that follow. Every order by counter may therefore be a heap
whose entries are lower bounds, corrected when they surface.
"""

import heapq
from collections.abc import Mapping
from typing import Final

PROMPT_WEIGHT: Final = 1.0
"""Cost of a prompt token, charged when its request is dispatched."""
COMPLETION_WEIGHT: Final = 2.0
"""Cost of a token of an answer, charged when its request has ended."""
MOST_AHEAD_TOKENS: Final = 65_536
"""Service by other shards puts a tenant ahead of those that wait here by no more than this, per weight: enough to even
out shares, and soon made up for where the tenant comes to wait here."""
LIMIT: Final = 10_000
"""Counters of tenants that do not wait which are remembered."""


class Counter:
    """One tenant's. `value` is cost over weight; `lanes` is how many lanes it waits in."""

    __slots__ = ("lanes", "listed", "refund", "tenant", "value", "weight")

    def __init__(self, tenant: str, weight: float, value: float) -> None:
        self.tenant = tenant
        self.weight = weight
        self.value = value
        self.refund = 0.0
        self.lanes = 0
        self.listed = 0

    def charge(self, cost: float) -> None:
        """Add `cost` in weighted tokens; a negative cost is taken off the charges that follow."""
        if cost >= 0.0 and not self.refund:
            self.value += cost / self.weight
            return
        change = cost / self.weight - self.refund
        self.refund = max(0.0, -change)
        self.value += max(0.0, change)


class Counters:
    """The counters of the tenants of one shard, shared by lanes.

    One that does not wait is forgotten when its counter is no higher than what it would begin with anyway, and when
    there are too many: then the lowest first, which loses the least.

    Args:
        weights: of the tenants that are configured.
        default_weight: of all others.
        limit: how many counters of tenants that do not wait are kept.
    """

    def __init__(
        self, weights: Mapping[str, float] | None = None, *, default_weight: float = 1.0, limit: int = LIMIT
    ) -> None:
        self._weights = weights or {}
        self._default_weight = default_weight
        self._limit = limit
        self._counters: dict[str, Counter] = {}
        self._order: list[tuple[float, int, Counter]] = []
        self._listed = 0
        self._waiting = 0
        self._floor = 0.0
        self._sweep_at = 64

    def __len__(self) -> int:
        return len(self._counters)

    @property
    def held(self) -> int:
        """Entries in memory: at most twice the waiting tenants and a small constant."""
        return len(self._order)

    @property
    def waiting(self) -> int:
        """Tenants that wait in some lane."""
        return self._waiting

    def value(self, tenant: str) -> float:
        """A tenant's counter, or what it would begin with."""
        counter = self._counters.get(tenant)
        if counter is None:
            return self.smallest()
        return counter.value if counter.lanes else max(counter.value, self.smallest())

    def smallest(self) -> float:
        """The smallest counter among tenants that wait; without any, that of the one that waited last."""
        while self._order:
            value, listed, counter = self._order[0]
            if counter.listed != listed or not counter.lanes:
                heapq.heappop(self._order)
            elif counter.value > value:
                heapq.heapreplace(self._order, (counter.value, listed, counter))
            else:
                self._floor = max(self._floor, value)
                break
        return self._floor

    def charge(self, tenant: str, cost: float) -> None:
        """A tenant has been served `cost` weighted tokens; negative for what it was charged too much."""
        self._of(tenant).charge(cost)

    def charge_elsewhere(self, tenant: str, cost: float) -> None:
        """A tenant has been served by another shard."""
        counter = self._of(tenant)
        room = self.smallest() + MOST_AHEAD_TOKENS - counter.value
        if room > 0.0:
            counter.charge(min(cost, room * counter.weight))

    def begin(self, tenant: str) -> Counter:
        """A tenant waits in one more lane; lifted if it waited in none."""
        counter = self._of(tenant)
        if not counter.lanes:
            counter.value = max(counter.value, self.smallest())
            self._waiting += 1
            self._list(counter)
        counter.lanes += 1
        return counter

    def finish(self, counter: Counter) -> None:
        """A tenant waits in one lane less."""
        counter.lanes -= 1
        if counter.lanes:
            return
        self._waiting -= 1
        if self._order[0][2] is counter:
            heapq.heappop(self._order)
        elif len(self._order) > 2 * self._waiting + 64:
            self._order = [entry for entry in self._order if entry[2].lanes and entry[2].listed == entry[1]]
            heapq.heapify(self._order)
        if not self._waiting:
            self._floor = max(self._floor, counter.value)

    def _list(self, counter: Counter) -> None:
        self._listed += 1
        counter.listed = self._listed
        heapq.heappush(self._order, (counter.value, self._listed, counter))

    def _of(self, tenant: str) -> Counter:
        counter = self._counters.get(tenant)
        if counter is None:
            if len(self._counters) >= self._sweep_at:
                self._sweep()
            weight = self._weights.get(tenant, self._default_weight)
            counter = self._counters[tenant] = Counter(tenant, weight, self.smallest())
        return counter

    def _sweep(self) -> None:
        """Forget whom nobody would miss. It comes round once in as many new tenants as it has to look at."""
        floor = self.smallest()
        idle = [c for c in self._counters.values() if not c.lanes]
        ahead = sorted((c for c in idle if c.value > floor), key=lambda c: c.value, reverse=True)
        kept = {c.tenant for c in ahead[: self._limit // 2]}
        self._counters = {name: c for name, c in self._counters.items() if c.lanes or name in kept}
        left = len(self._counters)
        self._sweep_at = max(64, min(2 * left, self._waiting + self._limit), left + left // 4)
