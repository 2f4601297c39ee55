"""Generations that are under way or ended lately, by identity and by what they generate.

A run is the generation of one request, the primary. Other senders join it: the same identity with the same body, or
another deterministic request for the same. Bounded by count and by the deduplication window: what is forgotten is
generated once more.
"""

import itertools
from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from processors.queueing.ticket import Key, Ticket
from topics.requests import ReplyTo

LIMIT: Final = 100_000
LOOKED_AT: Final = 8
"""Runs that are tried when one has to be displaced; what waits is bounded by the lanes."""
EXPIRED_EVERY: Final = 64
"""Runs after which those beyond the window are forgotten."""
SKEW_MS: Final = 2_000
"""Records are looked for from so long before a dispatch: clocks of brokers differ."""
REMEMBERED: Final = frozenset({"completed", "rejected"})
"""How a worker may end a request so that the same id gets the same answer; any other end gives it a fresh chance."""

Scope = str
"""The tenant whose requests may share answers, or `SHARED`."""
SHARED: Final = "*"
"""Scope of the tenants that allow sharing. No tenant can be called so."""


class Run(Struct, gc=False):
    """The generation of a primary.

    `since_ms` is the broker time before which none of its records was written, 0 before its first dispatch. `held` are
    those who joined while it waits in its lane.
    """

    origin: str
    id: str
    key: Key
    fingerprint: bytes
    scope: Scope | None
    streams: bool
    due_at_ms: int
    reply: ReplyTo
    deployment: str
    known_until_s: float
    state: Literal["waiting", "dispatched", "ended"] = "waiting"
    is_forgotten: bool = False
    slot: int = 0
    since_ms: int = 0
    held: list[Ticket] | None = None


class Runs:
    """Runs by identity, by fingerprint and by the origin of their primary.

    Args:
        window_s: how long an identity is remembered after its first request came.
        limit: how many identities, and how many runs in flight.
    """

    def __init__(self, *, window_s: float, limit: int = LIMIT) -> None:
        self._window_s = window_s
        self._limit = limit
        self._begun = 0
        self._by_key: dict[Key, Run] = {}
        self._by_origin: dict[str, Run] = {}
        self._shared: dict[tuple[Scope, bytes], Run] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def in_flight(self) -> int:
        """Runs that wait or were dispatched."""
        return len(self._by_origin)

    def known(self, key: Key, *, now_s: float) -> Run | None:
        """The run that an identity belongs to, if it is remembered."""
        run = self._by_key.get(key)
        if run is None:
            return None
        if run.is_forgotten or run.known_until_s <= now_s:
            del self._by_key[key]
            return None
        return run

    def of(self, origin: str) -> Run | None:
        """The run in flight whose primary came from an origin."""
        return self._by_origin.get(origin)

    def to_join(self, ticket: Ticket, scope: Scope, deployment: str) -> Run | None:
        """A run in flight that generates what a deterministic request asks for, and that it need not wait longer for.

        Who streams joins only who streams: the tokens of other runs come all at once.
        """
        run = self._shared.get((scope, ticket.fingerprint))
        if run is None or run.deployment != deployment or (ticket.streams and not run.streams):
            return None
        if run.state == "waiting" and run.due_at_ms > ticket.due_at_ms:
            return None
        return run

    def begin(self, ticket: Ticket, *, scope: Scope | None, deployment: str, now_s: float) -> Run:
        """A request is generated for itself; others may join if a scope is given."""
        key, origin = ticket.key, ticket.origin
        run = Run(
            origin,
            ticket.id,
            key,
            ticket.fingerprint,
            scope,
            ticket.streams,
            ticket.due_at_ms,
            ticket.reply,
            deployment,
            now_s + self._window_s,
            since_ms=ticket.first_dispatched_at_ms or 0,
        )
        self._by_origin[origin] = run
        if scope is not None:
            self._shared[scope, run.fingerprint] = run
        known = self._by_key
        if key in known:
            del known[key]
        known[key] = run
        self._begun += 1
        if len(known) > self._limit or not self._begun % EXPIRED_EVERY:
            self._forget_old(now_s)
        if len(self._by_origin) > self._limit:
            self._displace()
        return run

    def recall(self, runs: Iterable[Run]) -> None:
        """Runs of an earlier time, dispatched or ended, those that came first first. What is known already stays.

        Nobody joins them for their fingerprint: some may have ended long ago, and nobody will say so.
        """
        recalled = {run.key: run for run in runs}
        for run in recalled.values():
            if run.state == "dispatched":
                self._by_origin.setdefault(run.origin, run)
        recalled.update(self._by_key)
        for key in list(itertools.islice(recalled, max(0, len(recalled) - self._limit))):
            del recalled[key]
        self._by_key = recalled

    def join(self, run: Run, key: Key) -> None:
        """An identity gets the answer of a run."""
        self._by_key.pop(key, None)
        self._by_key[key] = run

    def dispatched(self, run: Run, *, deployment: str, slot: int, now_ms: int) -> list[Ticket]:
        """The primary was put into a slot: those who were held for it."""
        run.state = "dispatched"
        run.deployment, run.slot = deployment, slot
        run.since_ms = run.since_ms or now_ms - SKEW_MS
        return _taken(run) if run.held else []

    def end(self, origin: str, outcome: str) -> list[Ticket]:
        """A request has ended: those who were held for it and need a run of their own."""
        run = self._by_origin.pop(origin, None)
        if run is None:
            return []
        run.state = "ended"
        if run.scope is not None:
            self._leave(run)
        if outcome not in REMEMBERED:
            run.is_forgotten = True
            if self._by_key.get(run.key) is run:
                del self._by_key[run.key]
        return _taken(run) if run.held else []

    def _leave(self, run: Run) -> None:
        """It is in flight no longer: nobody joins it for its fingerprint."""
        if self._by_origin.get(run.origin) is run:
            del self._by_origin[run.origin]
        if run.scope is not None and self._shared.get((run.scope, run.fingerprint)) is run:
            del self._shared[run.scope, run.fingerprint]

    def _displace(self) -> None:
        """Forget that the oldest dispatched run is in flight. One that waits is kept: some may be held for it."""
        for run in list(itertools.islice(self._by_origin.values(), LOOKED_AT)):
            if run.state != "waiting":
                self._leave(run)
                return
            self._by_origin[run.origin] = self._by_origin.pop(run.origin)

    def _forget_old(self, now_s: float) -> None:
        known = self._by_key
        while known:
            first = next(iter(known))
            if len(known) <= self._limit and known[first].known_until_s > now_s:
                return
            del known[first]


def _taken(run: Run) -> list[Ticket]:
    held, run.held = run.held, None
    return held or []
