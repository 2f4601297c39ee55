"""What the tenants of a shard have used, are owed and are allowed: the scheduler's one place for all of it. Pure.

Queues are fair by themselves, by counters that are charged here for what is known only at the end of a request. Quotas
are taken when a request comes and settled when it ends, in whatever way. Portions of the workers' room follow from what
all shards were served.
"""

from msgspec import Struct

from processors.admission.quotas import Denied, Quotas
from processors.batching.controller import Why
from processors.policy import ANY_TENANT, Identity, Policy
from processors.queueing.counters import COMPLETION_WEIGHT, PROMPT_WEIGHT
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.placements import Place
from processors.routing.portions import Portions, cost_of
from topics.errors import RateLimited
from topics.fleet import Finished, LaneReport


class Limited(Struct, frozen=True):
    """A request that is over a quota of its tenant."""

    error: RateLimited
    why: Why


def queues_of(policy: Policy) -> Queues:
    """Empty queues for the classes of a model, fair between its tenants."""
    limits = {name: policy.classes[name].queue_limit for name in policy.by_priority()}
    yielding = [name for name, rules in policy.classes.items() if rules.yields]
    return Queues(limits, policy.tenants, yielding=yielding)


class Tenancy:
    """The tenants of one shard.

    Args:
        policy: their weights and limits, and the number of shards.
        identity: which shard it is.
        queues: where their requests wait; its counters are charged here.

    Attributes:
        portions: of the workers' room, what the tenants that wait at each shard are owed.
    """

    def __init__(self, policy: Policy, identity: Identity, queues: Queues) -> None:
        self._counters = queues.counters
        self.portions = Portions(policy, identity.shard, queues.lanes)
        self._has_limits = any(tenant.is_limited for tenant in policy.tenants.values())
        self._quotas = Quotas(policy.tenants, policy.tenant(ANY_TENANT), shard=identity.shard, shards=policy.shards)

    def limit(self, ticket: Ticket, *, now_s: float) -> Limited | None:
        """Charge the quotas of a request that has come for the first time, or say which one it is over."""
        if not self._has_limits:
            return None
        deadline_s = ticket.deadline_at_ms / 1000
        most_tokens = ticket.demand.kv_tokens
        denied = self._quotas.take(ticket.tenant, ticket.origin, most_tokens, deadline_s=deadline_s, now_s=now_s)
        return None if denied is None else _limited(ticket.tenant, denied)

    def on_ended_here(self, origin: str, *, used_tokens: int = 0) -> None:
        """A request was answered here: it has used what workers had used that handed it back."""
        if self._has_limits:
            self._quotas.settle(origin, used_tokens=used_tokens)

    def on_returned(self, ticket: Ticket, generated: int) -> None:
        """A worker handed a request back after so many tokens: they were served, whatever follows."""
        if generated:
            self._counters[ticket.latency_class].charge(ticket.tenant, COMPLETION_WEIGHT * generated)

    def on_finished(self, finished: Finished, *, now_s: float) -> None:
        """A request of any shard has ended at a worker."""
        self.portions.observe(finished, now_s=now_s)

    def on_lanes(self, report: LaneReport, *, now_s: float) -> None:
        """A shard of the model has told what waits there."""
        self.portions.hear(report, now_s=now_s)

    def on_completion(self, finished: Finished, place: Place | None) -> None:
        """Count what a request has used; of its prompt, what was not charged when it was dispatched from here.

        A copy of another request's answer has cost no engine anything, and counts for quotas only.
        """
        if self._has_limits:
            self._quotas.settle(finished.origin, used_tokens=finished.prompt_tokens + finished.completion_tokens)
        if place is None:
            counters = self._counters.get(finished.latency_class)
            if counters is not None and finished.tenant:
                counters.charge_elsewhere(finished.tenant, cost_of(finished))
        elif not place.is_copy:
            cost = COMPLETION_WEIGHT * finished.completion_tokens
            if finished.prompt_tokens and place.prompt_tokens:
                cost += PROMPT_WEIGHT * (finished.prompt_tokens - place.prompt_tokens)
            self._counters[place.latency_class].charge(place.key[0], cost)


def _limited(tenant: str, denied: Denied) -> Limited:
    error = RateLimited(denied.message(tenant), retry_after_s=denied.retry_after_s)
    figures = {"limit": denied.allowed, "retry_after_s": denied.retry_after_s}
    return Limited(error, Why(f"quota_{denied.limit}", figures))
