"""What a tenant can count on of a capacity that all share: its weighted max-min share, by what each asked for lately.

Capacity is filled up like water: everyone gets as much as it asks for, or the same level per weight where that is not
possible; what some leave, the others get. So a tenant that asks for more than its share finds its own queue long, and
lengthens nobody else's.

Source: Bertsekas and Gallager, Data Networks, section 6.5.2 (max-min fairness by progressive filling).
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

DEMAND_TAU_S: Final = 5.0
"""Demand is an average that forgets with this time constant: a burst counts, and is over soon."""
REFRESH_S: Final = 0.1
"""Demands are compared with each other no more often than this."""
LIMIT: Final = 10_000
"""Tenants whose demand is known."""
_NONE_PER_S: Final = 1e-3


class _Demand:
    """Requests per second, as of `at_s`."""

    __slots__ = ("at_s", "per_s")

    def __init__(self, at_s: float) -> None:
        self.per_s = 0.0
        self.at_s = at_s

    def until(self, now_s: float) -> float:
        """Let time pass; the demand after that."""
        if now_s > self.at_s:
            self.per_s *= math.exp((self.at_s - now_s) / DEMAND_TAU_S)
            self.at_s = now_s
        return self.per_s


class _Waterline(Struct, frozen=True):
    """Demands in the order in which rising water meets them: by demand over weight.

    `capacities[i]` is the capacity at which the level reaches the i-th; `demand_before[i]` and `weight_from[i]` are
    the sums over those that are filled then, and over those that are not.
    """

    levels: list[float]
    capacities: list[float]
    demand_before: list[float]
    weight_from: list[float]

    def level(self, capacity: float) -> float:
        """Rate per weight that everyone can have; for a capacity above all demand, the highest that anyone asks for."""
        if not self.levels or capacity >= self.capacities[-1]:
            return self.levels[-1] if self.levels else 0.0
        first = bisect_left(self.capacities, capacity)
        return (capacity - self.demand_before[first]) / self.weight_from[first]

    def unused(self, capacity: float) -> float:
        """What is left when all demand is met."""
        return max(0.0, capacity - self.capacities[-1]) if self.capacities else capacity


class Shares:
    """Demand of the tenants of one shard.

    Args:
        weights: of the tenants that are configured.
        default_weight: of all others.
    """

    def __init__(self, weights: Mapping[str, float], *, default_weight: float = 1.0) -> None:
        self._weights = weights
        self._default_weight = default_weight
        self._demands: dict[str, _Demand] = {}
        self._waterline = _Waterline([], [], [], [])
        self._refreshed_at_s = -math.inf

    def __len__(self) -> int:
        return len(self._demands)

    def observe(self, tenant: str, now_s: float) -> None:
        """A request of the tenant came."""
        demand = self._demands.get(tenant)
        if demand is None:
            if len(self._demands) >= LIMIT:
                return
            demand = self._demands[tenant] = _Demand(now_s)
        demand.per_s = demand.until(now_s) + 1 / DEMAND_TAU_S

    def of(self, tenant: str, capacity: float, now_s: float) -> float:
        """Requests per second, of `capacity`, that a backlog of the tenant drains with. Never more than the capacity.

        O(log n), and O(n log n) once in `REFRESH_S`.
        """
        if abs(now_s - self._refreshed_at_s) >= REFRESH_S:
            self._refresh(now_s)
        demand = self._demands.get(tenant)
        weight = self._weights.get(tenant, self._default_weight)
        share = weight * self._waterline.level(capacity)
        unused = self._waterline.unused(capacity)
        if unused > 0.0:
            share = max(share, unused + (demand.per_s if demand else 0.0))
        return min(share, capacity)

    def _refresh(self, now_s: float) -> None:
        self._refreshed_at_s = now_s
        self._demands = {name: d for name, d in self._demands.items() if d.until(now_s) > _NONE_PER_S}
        weights = [self._weights.get(name, self._default_weight) for name in self._demands]
        demands = [demand.per_s for demand in self._demands.values()]
        self._waterline = _fill(demands, weights)


def _fill(demands: list[float], weights: list[float]) -> _Waterline:
    order = sorted((demand / weight, demand, weight) for demand, weight in zip(demands, weights, strict=True))
    line = _Waterline([], [], [], [])
    met, unmet = 0.0, sum(weights)
    for level, demand, weight in order:
        line.levels.append(level)
        line.capacities.append(met + level * unmet)
        line.demand_before.append(met)
        line.weight_from.append(unmet)
        met += demand
        unmet -= weight
    return line
