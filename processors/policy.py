"""What is configured for the scheduler of one shard of a model. Values only."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from topics.texts import NOTHING_KEPT, TextRules


class ClassPolicy(Struct, kw_only=True, frozen=True):
    """A latency class: `priority` 0 goes first; `deadline_ms` applies where a request names none.

    Its SLO is `ttft_ms` and `tpot_ms` (answers that stream) or `e2e_ms`. A class that `yields` fills what the others
    leave, leaves them a reserve on every worker, gives way where that is not enough, and is never shed; all others may
    be.
    """

    priority: int
    deadline_ms: int
    queue_limit: int
    yields: bool = False
    ttft_ms: int | None = None
    tpot_ms: int | None = None
    e2e_ms: int | None = None

    @property
    def target_ms(self) -> int:
        """When a request's first token, or all of an answer that does not stream, is due after it was produced."""
        return min(self.ttft_ms or self.e2e_ms or self.deadline_ms, self.deadline_ms)


class TenantPolicy(Struct, kw_only=True, frozen=True):
    """A tenant's share among tenants that wait, relative to the others' weights, and its hard limits; None for none."""

    weight: float = 1.0
    requests_per_s: float | None = None
    tokens_per_min: int | None = None
    concurrent: int | None = None
    shares_cache: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether anything is turned away."""
        return (self.requests_per_s, self.tokens_per_min, self.concurrent) != (None, None, None)


EVERY_TENANT: Final = TenantPolicy()
ANY_TENANT: Final = "*"
"""Key of `Policy.tenants` for those that are not named there. No tenant can be called so."""


class Policy(Struct, kw_only=True, frozen=True):
    """A model and its classes.

    Attributes:
        stable: the deployment that serves the model until a rollout says otherwise; None where there is none.
        longest_deadline_ms: topics keep records for longer than this, so no request may ask for more.
        shards: partitions of each lane; a shard uses its share of every worker's credits.
        tenants: those that are configured, with `ANY_TENANT` for the others; without that, an `EVERY_TENANT`.
        hop_s: one way through the broker, processor to worker or back, in seconds.
        dedupe_window_s: how long an id is known after its request came, and how old a cached answer may be.
        coalesces: whether identical deterministic requests in flight share one generation.
        texts: what the account may keep of the texts of each tenant.
        cache_bytes: memory of a shard for answers of deterministic requests; 0 for no cache.
    """

    model: str
    classes: Mapping[str, ClassPolicy]
    stable: str | None
    longest_deadline_ms: int
    shards: int = 1
    tenants: Mapping[str, TenantPolicy] = {}
    texts: TextRules = NOTHING_KEPT
    hop_s: float = 0.005
    dedupe_window_s: float = 3600.0
    coalesces: bool = True
    cache_bytes: int = 0

    def tenant(self, name: str) -> TenantPolicy:
        """What applies to a tenant."""
        return self.tenants.get(name) or self.tenants.get(ANY_TENANT, EVERY_TENANT)

    def by_priority(self) -> list[str]:
        """Names of the classes, the most urgent first."""
        return sorted(self.classes, key=lambda name: (self.classes[name].priority, name))


class Identity(Struct, kw_only=True, frozen=True):
    """Who decides.

    Attributes:
        process: names the process in the trace.
        sender: names this one life of the scheduler in dispatches; never used twice, because `seq` starts again.
    """

    process: str
    sender: str
    shard: int = 0

    @classmethod
    def of(cls, process: str, *, run: str, shard: int, life: int) -> "Identity":
        """The `life`-th scheduler, of this shard, in one run of a process."""
        return cls(process=process, sender=f"{run}.{shard}.{life}", shard=shard)


def shard_of(sender: str) -> int | None:
    """Which shard a sender decides for; None where its name does not say."""
    words = sender.rsplit(".", 2)
    return int(words[1]) if len(words) == 3 and words[1].isdecimal() else None
