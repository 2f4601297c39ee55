"""When a request would have what its target is for: its first token, or its whole answer."""

from processors.batching.class_mix import ClassMix
from processors.batching.outlook import Outlook
from processors.batching.prefix_mirror import PrefixMirrors
from processors.batching.promises import Promise
from processors.batching.time_to_first_token import first_token_s
from processors.queueing.ticket import Ticket
from processors.routing.worker import Worker
from topics.prefixes import cached_tokens


class Predictions:
    """For one controller, whose state it reads.

    Args:
        promises: the classes by rank.
        mix: what comes.
        prefixes: what is cached where.
        hop_s: one way through the broker, in seconds.
    """

    def __init__(self, promises: list[Promise], *, mix: ClassMix, prefixes: PrefixMirrors, hop_s: float) -> None:
        self._promises = promises
        self._mix = mix
        self._prefixes = prefixes
        self._hop_s = hop_s

    def cached_tokens(self, ticket: Ticket, worker: Worker) -> int:
        """Prompt tokens of a request that a worker has computed before; never all of them."""
        known = self._prefixes.of(worker.name)
        return min(cached_tokens(ticket.prefixes, known), ticket.demand.prompt_tokens - 1) if known else 0

    def may_be_cached(self, ticket: Ticket) -> bool:
        """Whether some worker may have computed the beginning of a request before."""
        return bool(ticket.prefixes) and self._prefixes.is_known(ticket.prefixes)

    def first_token_s(self, worker: Worker, outlook: Outlook, step_s: float, prompt_tokens: int) -> float:
        """Until the last of `prompt_tokens` is computed by a worker whose steps without prompt take `step_s`."""
        limit_tokens = worker.heartbeat.limits.max_batch_tokens
        return first_token_s(outlook.cost, step_s, worker.sequences, prompt_tokens, limit_tokens, self._hop_s)

    def next_s(self, ticket: Ticket, rank: int, worker: Worker, outlook: Outlook, *, slack_s: float) -> float:
        """Until the target of a request is reached if no other prompt waits at a worker; see `until_target_s`."""
        step_s = outlook.cost.duration_s(worker.sequences, worker.kv_tokens, 0)
        own_tokens = ticket.demand.prompt_tokens - self.cached_tokens(ticket, worker)
        first_s = self.first_token_s(worker, outlook, step_s, own_tokens)
        return self.until_target_s(ticket, rank, worker, outlook, first_s=first_s, slack_s=slack_s)

    def until_target_s(
        self, ticket: Ticket, rank: int, worker: Worker, outlook: Outlook, *, first_s: float, slack_s: float
    ) -> float:
        """Until what the target is for, if the first token comes after `first_s`; 0 if no idle worker could meet it.

        What is within `slack_s` is given as it is.

        Such a request is late in any case. It is turned away for what waits before it, never for its own length: a
        target below what an engine can do must not mean that nobody is served.
        """
        answer_s = 0.0
        if self._promises[rank].is_whole:
            answer_s = self._answer_tokens(ticket, rank) * outlook.cost.duration_s(
                worker.sequences, worker.kv_tokens, 0
            )
        if first_s + answer_s <= slack_s:
            return first_s + answer_s
        target_s = (ticket.due_at_ms - ticket.produced_ms) / 1000
        limit_tokens = worker.heartbeat.limits.max_batch_tokens
        idle_s = first_token_s(
            outlook.cost, outlook.cost.fixed_s, 0, ticket.demand.prompt_tokens, limit_tokens, self._hop_s
        )
        return 0.0 if idle_s + answer_s > target_s else first_s + answer_s

    def _answer_tokens(self, ticket: Ticket, rank: int) -> float:
        demand = ticket.demand
        longest = (demand.kv_tokens - demand.prompt_tokens) / max(1, demand.sequences)
        return min(longest, self._mix.traffic[rank].answer_tokens)
