"""A worker as its newest heartbeat describes it, less what one scheduler gave it since: virtual credit."""

from collections import deque

from processors.queueing.ticket import Demand
from processors.routing.arrears import Arrears
from processors.routing.portions import WHOLE, Portion
from topics.fleet import Heartbeat

RESERVE_RATIO = 1 / 8
"""Share of a worker's sequences that work which yields leaves free: urgent work finds room without waiting for an end.

An eighth covers the arrivals during one such wait at moderate load; controllers that know the load leave more."""

Rank = tuple[float, float, str]


class Worker:
    """One worker, seen by one of the schedulers that share its credit: this one has a `portion` of it.

    `turn` is its portion of what is free: another one where shards take turns (`processors.routing.arrears`).

    Attributes:
        arrears: of the shards, here.
        slots: those that it owns, as far as nobody has taken them over.
        free_sequences, free_kv_tokens: what is left of this scheduler's share of the credit; below nothing by what
            it was given that has to be parked for.
        parkable_sequences, parkable_kv_tokens: its share of what running work that yields would make free: room for
            work that does not.
        sequences: in the worker, with those on their way from here.
        kv_tokens: held by the engine at its last step, with the prompts on their way from here.
        backlog_tokens: prompt tokens that wait for the engine, with those on their way from here.
        is_empty: nothing is in it or on its way from here.
        reserve: sequences that work which yields leaves free; what was parked a moment ago adds to it.
        rank: orders workers by occupation.
    """

    __slots__ = (
        "_counted",
        "_is_shared",
        "_on_the_way",
        "_on_the_way_tokens",
        "_parked_until_s",
        "_portion",
        "_unclaimed",
        "arrears",
        "at_s",
        "backlog_tokens",
        "free_kv_tokens",
        "free_sequences",
        "heartbeat",
        "is_empty",
        "kv_tokens",
        "name",
        "parkable_kv_tokens",
        "parkable_sequences",
        "rank",
        "reserve",
        "sequences",
        "slots",
        "turn",
    )

    def __init__(
        self,
        heartbeat: Heartbeat,
        at_s: float,
        *,
        portion: Portion = WHOLE,
        turn: Portion | None = None,
        arrears: Arrears | None = None,
        before: "Worker | None" = None,
    ) -> None:
        credits, limits = heartbeat.credits, heartbeat.limits
        self._portion = portion
        self.turn = portion if turn is None else turn
        self._is_shared = portion.ratio < 1.0
        self._counted = sum(sum(slot.seen.values()) for slot in heartbeat.slots)
        self._unclaimed = before._unclaimed_since(self._counted) if before else 0
        self._parked_until_s: deque[float] = before._parked_until_s if before else deque()
        self.arrears = arrears or Arrears()
        self._on_the_way = 0
        self._on_the_way_tokens = 0
        self.name = heartbeat.worker
        self.heartbeat = heartbeat
        self.at_s = at_s
        self.slots = [slot.partition for slot in heartbeat.slots]
        self.free_sequences = self._share(credits.free_sequences)
        self.free_kv_tokens = self._share(credits.free_kv_tokens)
        self.parkable_sequences = self._parkable(credits.parkable_sequences)
        self.parkable_kv_tokens = self._parkable(credits.parkable_kv_tokens) if credits.parkable_sequences else 0
        self.sequences = heartbeat.running + heartbeat.waiting
        self.kv_tokens = _held_kv_tokens(heartbeat)
        self.backlog_tokens = credits.prefill_backlog_tokens
        self.is_empty = self.sequences == 0
        self.reserve = int(RESERVE_RATIO * limits.max_sequences * self.turn.ratio)
        self.rank: Rank = (0.0, 0.0, self.name)

    def fits(self, demand: Demand) -> bool:
        """Whether the demand is within the credit. An empty worker takes whatever comes first: it can do no better."""
        free = self.free_for(demand)
        if free <= 0:
            return False
        return self.is_empty or (free >= demand.sequences and self.free_kv_for(demand) >= demand.kv_tokens)

    def free_for(self, demand: Demand) -> int:
        """Sequences that it has room for: less the reserve for work that yields, with what can be parked for others."""
        if demand.yields:
            return self.free_sequences - self.reserve
        return self.free_sequences + self.parkable_sequences

    def free_kv_for(self, demand: Demand) -> int:
        """KV tokens that it has room for."""
        return self.free_kv_tokens if demand.yields else self.free_kv_tokens + self.parkable_kv_tokens

    def parks_for(self, demand: Demand, limit: int) -> bool:
        """Whether running work has to give way to it, if the worker is to hold `limit` sequences at most."""
        if demand.yields or not self.parkable_sequences:
            return False
        lacks_room = self.room(limit) < demand.sequences or self.free_sequences < demand.sequences
        return lacks_room or self.free_kv_tokens < demand.kv_tokens

    def room(self, sequences: int) -> int:
        """How many more this scheduler may give a worker that is to hold `sequences` at most; may be negative."""
        if not self._is_shared:
            return sequences - self.sequences
        held = self.sequences - self._on_the_way
        return self._share(max(0, sequences - held)) - self._on_the_way

    def prompt_room(self, tokens: float) -> float:
        """How many more prompt tokens it may be given if `tokens` may wait in it at most; may be negative."""
        if not self._is_shared:
            return tokens - self.backlog_tokens
        waiting = self.backlog_tokens - self._on_the_way_tokens
        return max(0.0, tokens - waiting) * self.turn.ratio - self._on_the_way_tokens

    def take(self, *, sequences: int, kv_tokens: int, prompt_tokens: int) -> None:
        """Something is on its way to it; `prompt_tokens` of it have to be computed."""
        self._on_the_way += sequences
        self._on_the_way_tokens += prompt_tokens
        self.free_sequences -= sequences
        self.free_kv_tokens -= kv_tokens
        self.sequences += sequences
        self.kv_tokens += prompt_tokens
        self.backlog_tokens += prompt_tokens
        self.is_empty = self.is_empty and not sequences
        self.rerank()

    def park(self, *, until_s: float) -> None:
        """A sequence of it has to give way: until then one more is left free."""
        self._parked_until_s.append(until_s)
        self.reserve += 1

    def reserve_for_parked(self, now_s: float) -> None:
        """Leave free what had to give way lately, before this heartbeat."""
        while self._parked_until_s and self._parked_until_s[0] <= now_s:
            self._parked_until_s.popleft()
        self.reserve += len(self._parked_until_s)

    def rerank(self) -> None:
        """Compute the rank: the emptiest first, then the shortest prefill backlog.

        The name makes the choice a function of the events alone.
        """
        limits = self.heartbeat.limits
        occupied = 1.0 - self.free_sequences / max(limits.max_sequences, 1)
        self.rank = (occupied, self.backlog_tokens / max(limits.max_batch_tokens, 1), self.name)

    def _share(self, credit: int) -> int:
        """The turn moves on with every dispatch that the worker has read, and while nobody takes what is free."""
        return self.turn.of(credit, self._counted + self._unclaimed)

    def _parkable(self, credit: int) -> int:
        """Always divided: it is there for what cannot wait for its turn."""
        return self._portion.of(credit, self._counted + self._unclaimed) if credit else 0

    def _unclaimed_since(self, counted: int) -> int:
        """Heartbeats in a row, with a next one, that had room which no shard used."""
        was_free = self.heartbeat.credits.free_sequences > 0
        return self._unclaimed + 1 if was_free and counted == self._counted else 0


def _held_kv_tokens(heartbeat: Heartbeat) -> int:
    """What the engine held at its last step; credit may count what it has promised, which costs no time yet."""
    if heartbeat.samples and heartbeat.running:
        return heartbeat.samples[-1].kv_tokens
    return max(0, heartbeat.limits.max_kv_tokens - heartbeat.credits.free_kv_tokens)
