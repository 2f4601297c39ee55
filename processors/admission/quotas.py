"""Hard limits of tenants: requests per second, tokens per minute, and requests at the same time.

Fair queues share what there is; a quota turns away what is over a limit that somebody set, however idle the workers
are. Each shard enforces its part of the limit, without asking the others: a tenant whose requests all go to one of
several shards gets that part only. Clients key records by request id, which spreads them over all shards.

A quota is charged when a request arrives, with all that it may use: its prompt, as estimated, and the longest answer
that it allows. It is settled when the request ends, with what it used, and the rest is given back. So what is let in
does not exceed a limit, however long the answers turn out to be. What could not be foreseen is made up for afterwards:
prompts with more tokens than estimated, answers that set no limit and are longer than what is assumed of those. A
request that may use more than a full bucket holds needs a full one, which then goes below zero: no limit is too small
for a request, but such requests go one by one.

A restart forgets what was charged before.
"""

import heapq
from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from processors.policy import TenantPolicy

REQUESTS_BURST_S: Final = 1.0
"""How many seconds' worth of requests may come at once; one request always may."""
TOKENS_BURST_S: Final = 60.0
CONCURRENT_RETRY_S: Final = 1.0
"""When to try again where nothing says when one of the present requests will end."""
LINGER_S: Final = 60.0
"""So long after its deadline a request is held to have ended, though nobody said so."""
LIMIT: Final = 10_000
"""Tenants with full buckets that are remembered."""

_RESOLUTION_S: Final = 1e-6
"""Seconds since the epoch are no more exact than this: who waits for as long as it was told finds room."""

LimitName = Literal["requests_per_s", "tokens_per_min", "concurrent"]


class Denied(Struct, frozen=True, kw_only=True):
    """Over a quota: which, what it allows (the tenant's whole limit), and after how many seconds there is room."""

    limit: LimitName
    allowed: float
    retry_after_s: float

    def message(self, tenant: str) -> str:
        """For the sender: the limit and the way out."""
        return (
            f"tenant {tenant!r} is at its limit of {self.allowed:g} {_LIMITS[self.limit]}; "
            f"try again in {self.retry_after_s:.3g} s, or ask for a higher limit"
        )


_LIMITS: Final[dict[LimitName, str]] = {
    "requests_per_s": "requests per second",
    "tokens_per_min": "tokens per minute",
    "concurrent": "requests at the same time",
}


class Bucket:
    """A token bucket: fills at `per_s` up to `capacity`. What is taken may be more than there is when it is settled.

    Args:
        per_s: rate of filling; above 0.
        capacity: what it holds when full, which it is at first.
    """

    __slots__ = ("_at_s", "_capacity", "_level", "_per_s")

    def __init__(self, per_s: float, capacity: float, now_s: float) -> None:
        self._per_s = per_s
        self._capacity = capacity
        self._level = capacity
        self._at_s = now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until `amount` can be taken; 0 if it can be now. More than the capacity is had of a full bucket."""
        if now_s > self._at_s:
            self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
        wait_s = (min(amount, self._capacity) - self._level) / self._per_s
        return wait_s if wait_s > _RESOLUTION_S else 0.0

    def take(self, amount: float) -> None:
        """Take it; a negative amount is put back."""
        self._level = min(self._capacity, self._level - amount)

    def is_full(self, now_s: float) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return self.wait_s(self._capacity, now_s) == 0.0


class _Account:
    """What one tenant may still do on this shard."""

    __slots__ = ("concurrent", "present", "requests", "tokens")

    def __init__(self, limits: TenantPolicy, shard: int, shards: int, now_s: float) -> None:
        self.present = 0
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.concurrent: int | None = None
        if limits.requests_per_s is not None:
            per_s = limits.requests_per_s / shards
            self.requests = Bucket(per_s, max(1.0, per_s * REQUESTS_BURST_S), now_s)
        if limits.tokens_per_min is not None:
            per_s = limits.tokens_per_min / 60 / shards
            self.tokens = Bucket(per_s, per_s * TOKENS_BURST_S, now_s)
        if limits.concurrent is not None:
            self.concurrent = max(1, (limits.concurrent + shards - 1 - shard) // shards)

    def is_idle(self, now_s: float) -> bool:
        """Whether it is as good as new."""
        buckets = (self.requests, self.tokens)
        return not self.present and all(bucket is None or bucket.is_full(now_s) for bucket in buckets)


class _Held(Struct, frozen=True):
    account: _Account
    tokens: int


class Quotas:
    """The quotas of one shard. Tenants without limits cost nothing.

    Args:
        tenants: those that are configured, by name.
        default: what applies to all others.
        shard, shards: each shard has its part of every limit; parts of all shards add up to the whole, but for a
            `concurrent` below the number of shards: one at a time is allowed everywhere.
    """

    def __init__(
        self, tenants: Mapping[str, TenantPolicy], default: TenantPolicy, *, shard: int = 0, shards: int = 1
    ) -> None:
        self._tenants = tenants
        self._default = default
        self._shard = shard
        self._shards = shards
        self._accounts: dict[str, _Account] = {}
        self._held: dict[str, _Held] = {}
        self._expiries: list[tuple[float, str]] = []
        self._sweep_at = 64

    def __len__(self) -> int:
        return len(self._held)

    @property
    def known(self) -> int:
        """Tenants that are accounted for."""
        return len(self._accounts)

    def take(self, tenant: str, origin: str, tokens: int, *, deadline_s: float, now_s: float) -> Denied | None:
        """Charge a request that has come; None if it is within all limits, and nothing is charged if it is not.

        One that is charged already, because its record was read twice, is within them.

        Args:
            tenant: who sent it.
            origin: names it until `settle`.
            tokens: the most that it may use, of prompt and answers.
            deadline_s: when it expires; it is not held much longer.
            now_s: broker time in seconds.
        """
        limits = self._tenants.get(tenant, self._default)
        if not limits.is_limited:
            return None
        self._expire(now_s)
        if origin in self._held:
            return None
        account = self._account(tenant, limits, now_s)
        denied = _check(account, limits, tokens, now_s)
        if denied is not None:
            return denied
        account.present += 1
        if account.requests is not None:
            account.requests.take(1)
        if account.tokens is not None:
            account.tokens.take(tokens)
        self._held[origin] = _Held(account, tokens)
        heapq.heappush(self._expiries, (deadline_s + LINGER_S, origin))
        return None

    def settle(self, origin: str, *, used_tokens: int) -> None:
        """A request has ended, in whatever way, and used so many tokens of prompt and answer. Idempotent."""
        held = self._held.pop(origin, None)
        if held is None:
            return
        held.account.present -= 1
        if held.account.tokens is not None:
            held.account.tokens.take(used_tokens - held.tokens)
        if len(self._expiries) > 2 * len(self._held) + 64:
            self._expiries = [entry for entry in self._expiries if entry[1] in self._held]
            heapq.heapify(self._expiries)

    def _expire(self, now_s: float) -> None:
        """End what must have ended: its worker's last words were lost."""
        while self._expiries and self._expiries[0][0] <= now_s:
            _, origin = heapq.heappop(self._expiries)
            held = self._held.get(origin)
            if held is not None:
                self.settle(origin, used_tokens=held.tokens)

    def _account(self, tenant: str, limits: TenantPolicy, now_s: float) -> _Account:
        account = self._accounts.get(tenant)
        if account is None:
            if len(self._accounts) >= self._sweep_at:
                self._sweep(now_s)
            account = self._accounts[tenant] = _Account(limits, self._shard, self._shards, now_s)
        return account

    def _sweep(self, now_s: float) -> None:
        """Forget whose buckets are full; of the others, those that were there first, if they are too many."""
        kept = {name: account for name, account in self._accounts.items() if not account.is_idle(now_s)}
        absent = [name for name, account in kept.items() if not account.present]
        for name in absent[: max(0, len(absent) - LIMIT // 2)]:
            del kept[name]
        self._accounts = kept
        self._sweep_at = max(64, min(2 * len(kept), len(self._held) + LIMIT), len(kept) + len(kept) // 4)


def _check(account: _Account, limits: TenantPolicy, tokens: int, now_s: float) -> Denied | None:
    """The limit that takes longest to have room again, if any has none."""
    denials: list[Denied] = []
    if account.requests is not None and limits.requests_per_s is not None:
        wait_s = account.requests.wait_s(1, now_s)
        denials.append(Denied(limit="requests_per_s", allowed=limits.requests_per_s, retry_after_s=wait_s))
    if account.tokens is not None and limits.tokens_per_min is not None:
        wait_s = account.tokens.wait_s(tokens, now_s)
        denials.append(Denied(limit="tokens_per_min", allowed=limits.tokens_per_min, retry_after_s=wait_s))
    if account.concurrent is not None and limits.concurrent is not None:
        wait_s = CONCURRENT_RETRY_S if account.present >= account.concurrent else 0.0
        denials.append(Denied(limit="concurrent", allowed=limits.concurrent, retry_after_s=wait_s))
    worst = max(denials, key=lambda denied: denied.retry_after_s)
    return worst if worst.retry_after_s > 0.0 else None
