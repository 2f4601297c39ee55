"""How the shards of a model divide the workers' room between them: by the weights of the tenants that wait at each.

A tenant whose requests all go to one shard is owed its weight of the whole, not of that shard. Every shard sees every
heartbeat, and with each request that ends there the tenant, the shard it came from (the partition of its origin) and
how many more of its requests waited behind it. From these all shards compute the same portions. Every second each
shard tells how much waits there, so that one is known to wait of which nothing ends. The most urgent class that waits
anywhere decides; where nobody waits, or one shard alone exists, portions are equal.

A portion is one of requests, while tenants are owed tokens: a weight counts per token of the tenant's requests of late.
"""

import math
from collections.abc import Mapping, Sized
from typing import Final, NamedTuple

from msgspec import Struct

from processors.policy import Policy
from processors.queueing.counters import COMPLETION_WEIGHT, PROMPT_WEIGHT
from processors.routing.arrears import Waiting
from topics.fleet import STALE_AFTER_S, Finished, LaneReport
from topics.names import split_origin

WAITS_S: Final = 5.0
"""So long after a tenant was seen to wait it is thought to; longer where requests take longer."""
BACKLOG_TAU_S: Final = 2.0
"""A tenant's backlog is an average that forgets with this time constant."""
LEAST_BACKLOG: Final = 0.5
"""Who leaves less behind on average does not wait."""
SIZE_TAU_S: Final = 60.0
"""The size of a tenant's requests is an average that forgets with this time constant."""
QUIET_RATIO: Final = 1 / 4
"""A shard where nobody waits keeps this ratio of an equal portion: a newcomer finds room at once."""
REFRESH_S: Final = 0.1
LIMIT: Final = 10_000


class Portion(Struct, frozen=True):
    """Part of the whole: from `low` to `high`, within 0 and 1. Portions of all shards lie side by side."""

    low: float = 0.0
    high: float = 1.0

    @property
    def ratio(self) -> float:
        """How much it is."""
        return self.high - self.low

    def of(self, amount: int, turn: int) -> int:
        """Its part of `amount`. In every turn the parts of all portions add up to it; over many turns each is exact."""
        if self.ratio == 1.0:
            return amount
        offset = turn * _GOLDEN % 1.0
        return math.floor(amount * self.high + offset) - math.floor(amount * self.low + offset)


WHOLE: Final = Portion()
NOTHING: Final = Portion(0.0, 0.0)
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
"""Multiples of it are spread evenly over the unit interval, however many there are."""


def equal(shard: int, shards: int) -> Portion:
    """Where nothing is known."""
    return Portion(shard / shards, (shard + 1) / shards)


def quiet(shard: int, shards: int) -> Portion:
    """Where nobody waits that anybody knew of."""
    return Portion(shard / shards, (shard + QUIET_RATIO) / shards)


class _Size:
    """Cost of a tenant's requests: decayed sums."""

    __slots__ = ("at_s", "cost", "count")

    def __init__(self, at_s: float) -> None:
        self.cost = 0.0
        self.count = 0.0
        self.at_s = at_s

    def add(self, cost: float, now_s: float) -> None:
        """A request has ended."""
        kept = math.exp(-max(0.0, now_s - self.at_s) / SIZE_TAU_S)
        self.cost = self.cost * kept + cost
        self.count = self.count * kept + 1.0
        self.at_s = max(now_s, self.at_s)

    @property
    def mean(self) -> float:
        """Weighted tokens of a request; at least one."""
        return max(1.0, self.cost / self.count)


class _Waiting(NamedTuple):
    """A tenant's mean backlog at a shard of late, as far as known at `at_s`, and how long that is believed."""

    at_s: float
    until_s: float
    backlog: float

    def then(self, backlog: int, now_s: float, until_s: float) -> "_Waiting":
        """After a request that left so many behind it."""
        share = 1.0 - math.exp(-max(0.0, now_s - self.at_s) / BACKLOG_TAU_S)
        mean = self.backlog + share * (backlog - self.backlog)
        return _Waiting(max(now_s, self.at_s), until_s, mean)


class _Told(Struct):
    """What a shard told at `at_s` waits there, by class.

    `still` are the classes in which something waited also when it told before; `dispatched` counts the requests of the
    shard that have come to workers since.
    """

    at_s: float
    queued: dict[str, int]
    still: frozenset[str]
    dispatched: int = 0


class Portions:
    """Computes one shard's portion.

    Args:
        policy: weights of tenants, priorities of classes, number of shards.
        shard: whose portion it is.
        lanes: what waits there at any time, by class; to be looked at only.

    Attributes:
        ratios: how much the portion of each shard is; never changed in place.
    """

    def __init__(self, policy: Policy, shard: int, lanes: Mapping[str, Sized] | None = None) -> None:
        self._policy = policy
        self._shard = shard
        self._sizes: dict[str, _Size] = {}
        self._waiting: dict[str, dict[tuple[str, int], _Waiting]] = {name: {} for name in policy.by_priority()}
        self._lanes = lanes or {}
        self._told: dict[int, _Told] = {}
        self.ratios = [1.0 / policy.shards] * policy.shards
        self._portion = equal(shard, policy.shards)
        self._refreshed_at_s = -math.inf

    @property
    def held(self) -> int:
        """What is remembered: at most `LIMIT` for sizes, and for each class, and something for each shard."""
        return len(self._sizes) + len(self._told) + sum(map(len, self._waiting.values()))

    def observe(self, finished: Finished, *, now_s: float) -> None:
        """A request of any shard has ended."""
        waiting = self._waiting.get(finished.latency_class)
        if self._policy.shards == 1 or waiting is None or not finished.tenant:
            return
        size = self._sizes.pop(finished.tenant, None) or _Size(now_s)
        size.add(cost_of(finished), now_s)
        self._sizes[finished.tenant] = size
        _, shard, _ = split_origin(finished.origin)
        key = (finished.tenant, shard % self._policy.shards)
        until_s = now_s + max(WAITS_S, 2e-6 * finished.service_us)
        known = waiting.pop(key, None) or _Waiting(-math.inf, until_s, 0.0)
        known = known.then(finished.backlog, now_s, until_s)
        if known.backlog >= LEAST_BACKLOG:
            waiting[key] = known
        if len(self._sizes) > LIMIT:
            del self._sizes[next(iter(self._sizes))]
        if len(waiting) > LIMIT:
            del waiting[next(iter(waiting))]

    def hear(self, report: LaneReport, *, now_s: float) -> None:
        """A shard, perhaps this one, has told what waits there."""
        if self._policy.shards == 1 or report.shard >= self._policy.shards:
            return
        at_s, before = min(report.at_ms / 1000, now_s), self._told.get(report.shard)
        if before is not None and at_s < before.at_s <= now_s:
            return
        queued = {lane.latency_class: lane.queued for lane in report.lanes if lane.queued}
        still = before.queued.keys() & queued if before else frozenset[str]()
        self._told[report.shard] = _Told(at_s, queued, frozenset(still))

    def dispatched(self, sent: Mapping[int, int]) -> None:
        """So many requests of each shard have come to a worker: they wait no longer."""
        for shard, count in sent.items():
            told = self._told.get(shard)
            if told is not None:
                told.dispatched += count

    def waiting(self, now_s: float) -> Waiting:
        """Who has something to dispatch, as far as it is known here."""
        fresh = {shard: told for shard, told in self._told.items() if now_s - told.at_s <= STALE_AFTER_S}
        shards, is_untold = set[int](), False
        for name in self._waiting:
            shards = {shard for shard, told in fresh.items() if told.queued.get(name, 0) > told.dispatched}
            waits_here = len(self._lanes.get(name, ())) > 0
            is_untold = waits_here and self._shard not in shards
            if not waits_here:
                shards.discard(self._shard)
            if shards or is_untold:
                break
        return Waiting(self.ratios, frozenset(shards), frozenset(fresh), is_untold)

    def at(self, now_s: float) -> Portion:
        """The portion. It changes every `REFRESH_S` at most."""
        if self._policy.shards > 1 and abs(now_s - self._refreshed_at_s) >= REFRESH_S:
            self._refreshed_at_s = now_s
            self._portion = self._divide(now_s)
        return self._portion

    def _divide(self, now_s: float) -> Portion:
        shards = self._policy.shards
        pulls = self._pulls(now_s)
        if not pulls:
            self.ratios = [1.0 / shards] * shards
            return equal(self._shard, shards)
        left = QUIET_RATIO / shards
        busy = (1.0 - left * (shards - len(pulls))) / sum(pulls.values())
        ratios = self.ratios = [busy * pulls[shard] if shard in pulls else left for shard in range(shards)]
        low = math.fsum(ratios[: self._shard])
        return Portion(low, 1.0 if self._shard == shards - 1 else math.fsum(ratios[: self._shard + 1]))

    def _pulls(self, now_s: float) -> dict[int, float]:
        """What the tenants that wait in the most urgent class pull to their shards: to each by what waits there.

        A shard that tells of a queue, again and again, and ends nothing by which its tenants would be known pulls for
        each request that waits as much as others do, if that is more than it has anyway.
        """
        for name, waiting in self._waiting.items():
            self._forget(name, waiting, now_s)
            pulls = self._pulls_of(waiting)
            pulls.update(self._unheard(name, pulls, now_s))
            if pulls:
                return pulls
        return {}

    def _forget(self, name: str, waiting: dict[tuple[str, int], _Waiting], now_s: float) -> None:
        """Forget who was not seen to wait for long. Where a shard tells of a queue of which nothing ends, those who
        were seen last are thought to be in it.
        """
        over = [key for key, known in waiting.items() if known.until_s < now_s]
        if over:
            seen = {shard for (_, shard), known in waiting.items() if known.until_s >= now_s}
            silent = self._queued(name, now_s).keys() - seen
            for key in over:
                if key[1] not in silent:
                    del waiting[key]

    def _queued(self, name: str, now_s: float) -> dict[int, int]:
        """What waits at the shards that tell of a queue again and again."""
        return {
            shard: told.queued[name]
            for shard, told in self._told.items()
            if name in told.still and now_s - told.at_s <= STALE_AFTER_S
        }

    def _unheard(self, name: str, pulls: Mapping[int, float], now_s: float) -> dict[int, float]:
        """What shards pull of whose tenants nothing was heard, beside those of which something was."""
        queued = self._queued(name, now_s)
        whole, known = sum(pulls.values()), sum(queued.get(shard, 0) for shard in pulls)
        if pulls and not known:
            return {shard: whole / len(pulls) for shard in queued if shard not in pulls}
        each = whole / known if known else 1.0
        least = QUIET_RATIO / self._policy.shards * whole
        return {shard: each * queued[shard] for shard in queued if shard not in pulls and each * queued[shard] > least}

    def _pulls_of(self, waiting: Mapping[tuple[str, int], _Waiting]) -> dict[int, float]:
        backlogs: dict[str, float] = {}
        for (tenant, _), known in waiting.items():
            backlogs[tenant] = backlogs.get(tenant, 0.0) + known.backlog
        pulls: dict[int, float] = {}
        for (tenant, shard), known in sorted(waiting.items()):
            size = self._sizes.get(tenant)
            pull = self._policy.tenant(tenant).weight / (size.mean if size else 1.0)
            pulls[shard] = pulls.get(shard, 0.0) + pull * known.backlog / backlogs[tenant]
        return pulls


def cost_of(finished: Finished) -> float:
    """What a request cost, in weighted tokens."""
    return PROMPT_WEIGHT * finished.prompt_tokens + COMPLETION_WEIGHT * finished.completion_tokens
