"""Who gets whose answer: the same id again, identical requests in flight, and answers that are kept.

The scheduler asks for every admitted request, and tells what becomes of those that are generated. A request that joins
a run takes no room of a worker: it is held while the primary waits, and goes into the slot of the primary after it.
There its worker copies the answer from the log, so that the copy outlives workers as any request does.
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from processors.cache.cache import Cache
from processors.cache.serving import served
from processors.dedupe.attaching import attached, joined
from processors.dedupe.runs import SHARED, Run, Runs, Scope
from processors.dedupe.waiting import Waiting
from processors.effects import Answer, Dispatch, Effect, Trace
from processors.policy import Identity, Policy
from processors.queueing.ticket import Key, Ticket
from processors.routing.placements import Place, Placements
from topics.dispatches import Return
from topics.errors import IdConflict
from topics.responses import Response


class Sharing:
    """Of one shard of a model. It starts with what `recall` tells: what it does not know is generated once more.

    Args:
        policy, identity: of the scheduler.
        placements: gets the places of those who join, so that cancellations find them.
    """

    def __init__(self, policy: Policy, identity: Identity, placements: Placements) -> None:
        self._policy = policy
        self._identity = identity
        self._placements = placements
        self._runs = Runs(window_s=policy.dedupe_window_s)
        self._waiting = Waiting()
        self._orphans: list[Ticket] = []
        self._cache = Cache(max_bytes=policy.cache_bytes, max_age_s=policy.dedupe_window_s)
        self._served = 0

    @property
    def held(self) -> int:
        """Requests that wait for a primary that waits."""
        return len(self._waiting) + len(self._orphans)

    @property
    def known(self) -> int:
        """Identities that are remembered."""
        return len(self._runs)

    @property
    def cache(self) -> Cache:
        """Answers that are kept; without any while the policy gives it no memory."""
        return self._cache

    # A request comes

    def on_request(self, ticket: Ticket, deployment: str, *, now_s: float) -> list[Effect] | IdConflict | None:
        """What follows for an admitted request; None where it has to be generated."""
        if not ticket.fingerprint:
            return None
        known = self._runs.known(ticket.key, now_s=now_s)
        if known is not None and known.origin != ticket.origin:
            if known.fingerprint != ticket.fingerprint:
                return _conflict(ticket)
            return self._join(ticket, known, deployment, now_s)
        scope = self._scope(ticket)
        if scope is not None:
            hit = self._serve(ticket, scope, deployment, now_s)
            if hit is not None:
                return hit
            run = self._to_join(ticket, scope, deployment)
            if run is not None:
                return self._join(ticket, run, deployment, now_s)
        return None

    def on_return(self, ticket: Ticket, record: Return, deployment: str, *, now_s: float) -> list[Effect] | None:
        """What follows for a request that a worker handed back; None where it has to be generated."""
        primary = record.dispatch.primary
        if primary is None:
            return None
        if record.reason == "detached":
            self._forget(primary.origin)
            self._forget_of(ticket.key, primary.origin, now_s)
        known = self._runs.known(ticket.key, now_s=now_s)
        run = known if known is not None and known.fingerprint == ticket.fingerprint else None
        scope = self._scope(ticket)
        if run is None and scope is not None:
            run = self._to_join(ticket, scope, deployment)
        if run is not None and run.origin != ticket.origin:
            return self._join(ticket, run, deployment, now_s)
        return None

    def recall(self, runs: Iterable[Run]) -> None:
        """Know ids of an earlier time, whose requests were dispatched or answered; those that came first first."""
        self._runs.recall(runs)

    # What becomes of primaries

    def on_queued(self, ticket: Ticket, deployment: str, *, now_s: float) -> None:
        """A request waits to be generated: others may join it from now on."""
        if not ticket.fingerprint:
            return
        run = self._runs.of(ticket.origin) if ticket.hop else None
        if run is not None:
            run.state = "waiting"
        elif ticket.is_deterministic:
            self._begin(ticket, self._scope(ticket), deployment, now_s)
        else:
            self._runs.begin(ticket, scope=None, deployment=deployment, now_s=now_s)

    def on_dispatched(self, ticket: Ticket, *, deployment: str, slot: int, now_us: int) -> list[Effect]:
        """A request was put into a slot: those who were held for it go after it."""
        run = self._runs.of(ticket.origin)
        if run is None:
            return []
        held = self._runs.dispatched(run, deployment=deployment, slot=slot, now_ms=now_us // 1000)
        return [self._attach(one, run, deployment, now_us) for one in held if self._waiting.leave(one)]

    def on_ended(self, origin: str, outcome: str) -> None:
        """A request has ended, here or at its worker. Those who were held for it become orphans."""
        for ticket in self._runs.end(origin, outcome):
            if self._waiting.leave(ticket):
                self._orphans.append(replace(ticket, is_waiting=True))

    @property
    def has_orphans(self) -> bool:
        """Whether `adopt` has something to do."""
        return bool(self._orphans)

    def adopt(self, deployment: str | None, *, now_s: float) -> Iterator[Ticket]:
        """The orphans that have to be generated, to be queued: the first of those who ask for the same."""
        orphans, self._orphans = self._orphans, []
        for ticket in orphans:
            scope = self._scope(ticket)
            run = self._runs.known(ticket.key, now_s=now_s)
            if run is None and scope is not None and deployment is not None:
                run = self._to_join(ticket, scope, deployment)
            if run is not None and run.state == "waiting" and run.origin != ticket.origin:
                self._hold(ticket, run)
            else:
                self._begin(ticket, scope, deployment or "", now_s)
                yield ticket

    # Those who are held

    def holds(self, key: Key) -> bool:
        """Whether a request of an identity is held."""
        return bool(self._waiting.of(key))

    def cancel(self, key: Key) -> list[Ticket]:
        """Take out the held requests of an identity."""
        return [ticket for ticket in self._waiting.of(key) if self._waiting.leave(ticket)]

    def overdue(self, now_ms: int) -> Iterator[Ticket]:
        """Take out the held requests whose deadline has passed."""
        return self._waiting.overdue(now_ms)

    def next_deadline_ms(self) -> int | None:
        """The earliest deadline of a held request."""
        return self._waiting.next_deadline_ms()

    # Answers

    def on_response(self, record: Response, *, now_s: float) -> None:
        """A record of a response topic: learn the answer that it belongs to, if that is wanted."""
        self._cache.on_response(record, now_s=now_s)

    # Inside

    def _scope(self, ticket: Ticket) -> Scope | None:
        """With whom a request may share; None for nobody."""
        if not ticket.is_deterministic:
            return None
        return SHARED if self._policy.tenant(ticket.tenant).shares_cache else ticket.tenant

    def _to_join(self, ticket: Ticket, scope: Scope, deployment: str) -> Run | None:
        return self._runs.to_join(ticket, scope, deployment) if self._policy.coalesces else None

    def _begin(self, ticket: Ticket, scope: Scope | None, deployment: str, now_s: float) -> None:
        self._runs.begin(ticket, scope=scope, deployment=deployment, now_s=now_s)
        if scope is not None:
            self._cache.expect(ticket, (scope, deployment, ticket.fingerprint))

    def _join(self, ticket: Ticket, run: Run, deployment: str, now_s: float) -> list[Effect]:
        now_us = int(now_s * 1e6)
        self._runs.join(run, ticket.key)
        event = Trace(row=joined(ticket, run, model=self._policy.model, identity=self._identity, now_us=now_us))
        if run.state == "waiting":
            self._hold(ticket, run)
            return [event]
        # The answer lies in the log, whatever serves the model by now: any of its workers can copy it.
        place = run.deployment if run.state == "dispatched" else deployment
        return [self._attach(ticket, run, place, now_us), event]

    def _hold(self, ticket: Ticket, run: Run) -> None:
        if run.held is None:
            run.held = []
        run.held.append(ticket)
        self._waiting.add(ticket)

    def _attach(self, ticket: Ticket, run: Run, deployment: str, now_us: int) -> Dispatch:
        self._placements.put(
            Place(
                origin=ticket.origin,
                key=ticket.key,
                deployment=deployment,
                slot=run.slot,
                latency_class=ticket.latency_class,
                is_copy=True,
            )
        )
        record = attached(
            ticket, run, deployment=deployment, model=self._policy.model, identity=self._identity, now_us=now_us
        )
        return Dispatch(record=record, slot=run.slot, headers=ticket.headers, settles=ticket.at)

    def _serve(self, ticket: Ticket, scope: Scope, deployment: str, now_s: float) -> list[Effect] | None:
        kept = self._cache.get((scope, deployment, ticket.fingerprint), now_s=now_s)
        if kept is None:
            return None
        self._served += 1
        attempt = f"{self._identity.sender}-c{self._served}"
        records, rows = served(
            ticket,
            kept,
            attempt=attempt,
            model=self._policy.model,
            process=self._identity.process,
            now_us=int(now_s * 1e6),
            texts=self._policy.texts,
        )
        self._remember(ticket, deployment, now_s)
        answer = Answer(records=records, reply=ticket.reply, headers=ticket.headers, settles=ticket.at)
        return [answer, *(Trace(row=row) for row in rows)]

    def _remember(self, ticket: Ticket, deployment: str, now_s: float) -> None:
        """The answer lies in the log at once: who sends the same id again gets it from there."""
        run = self._runs.begin(ticket, scope=None, deployment=deployment, now_s=now_s)
        self._runs.dispatched(run, deployment=deployment, slot=0, now_ms=int(now_s * 1000))
        self._runs.end(run.origin, "completed")

    def _forget(self, origin: str) -> None:
        """There will be no answer of this primary that could be shared."""
        self.on_ended(origin, "detached")

    def _forget_of(self, key: Key, origin: str, now_s: float) -> None:
        run = self._runs.known(key, now_s=now_s)
        if run is not None and run.origin == origin:
            run.is_forgotten = True


def _conflict(ticket: Ticket) -> IdConflict:
    return IdConflict(
        f"id {ticket.id!r} is in use by a request with another body; send this one under an id of its own", param="id"
    )
