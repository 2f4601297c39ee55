"""The scheduler of one shard of one model: state and an event in, effects out, and when to be called again.

Plain synchronous code: no broker, clock, randomness or logging. The same events at the same times give the same
effects. `now_s` is broker time in seconds since the epoch; that it goes back a little now and then does no harm.

Every request that was admitted is in exactly one state: it waits in a lane, it was dispatched, or it was answered. A
worker that falls silent is given nothing more, and nothing of what it has is taken away: its slots move to another
worker with what is in them.
"""

from collections.abc import Mapping

from processors.account import Account, Ending
from processors.admission.returned import returned
from processors.admission.validation import Partitions, Refusal, admit
from processors.batching.controller import NO_REASON, Batch, Controller, Why
from processors.batching.modes import ControllerFactory, Mode, controller_for
from processors.dedupe.sharing import Sharing
from processors.effects import Answer, Dispatch, Effect, Forward, PauseLane, ResumeLane, Trace
from processors.endings import Outcome, end, reject, too_late
from processors.events import Arrival, Handback
from processors.observations import Observations
from processors.policy import Identity, Policy
from processors.queueing.cancellations import Cancellations
from processors.queueing.lane import LaneQueue
from processors.queueing.ticket import Key, Ticket
from processors.records import Records
from processors.recovery.legacy import Legacy
from processors.recovery.restoring import restore
from processors.routing.deployments import Deployments
from processors.routing.fleet import Fleet, Worker
from processors.routing.placements import Place, Placements
from processors.tenancy import Tenancy, queues_of
from topics.control import ControlRecord
from topics.dispatches import Cancel
from topics.errors import IdConflict, PipelineError
from topics.fleet import Finished, Heartbeat, LaneFigures, LaneReport, ModelFigures
from topics.requests import Cancellation


class Scheduler:
    """Decides for one shard of one model.

    Args:
        policy: the model and its classes.
        identity: who decides; the sender is never used for another scheduler.
        replies: partitions of the response topics; the owner may change the mapping in place.
        cancellations: those that came before their requests, handed on from an earlier scheduler of the shard.
        controllers: makes the controller for a way of batching.
    """

    def __init__(
        self,
        policy: Policy,
        identity: Identity,
        *,
        replies: Partitions,
        cancellations: Cancellations | None = None,
        controllers: ControllerFactory = controller_for,
    ) -> None:
        self._policy = policy
        self._identity = identity
        self._replies = replies
        self._account = Account(policy, identity)
        self._records = Records(policy, identity)
        self._queues = queues_of(policy)
        self._tenancy = Tenancy(policy, identity, self._queues)
        self._fleet = Fleet(
            sender=identity.sender, shard=identity.shard, shards=policy.shards, portions=self._tenancy.portions
        )
        self._placements = Placements()
        self._sharing = Sharing(policy, identity, self._placements)
        self._mode: Mode = "unknown"
        self._controllers = controllers
        self._controller: Controller = controllers(self._mode, self._queues, self._fleet, policy)
        self._wake_at_s: float | None = None
        self._cancellations = (
            Cancellations(keep_s=policy.longest_deadline_ms / 1000) if cancellations is None else cancellations
        )
        self._deployments = Deployments(policy.model, policy.stable)
        self._numbered = 0
        self._observations = Observations()

    @property
    def wake_at_s(self) -> float | None:
        """When `on_wake` has something to do, if nothing else happens before; None for never."""
        deadlines_ms = (self._queues.next_deadline_ms(), self._sharing.next_deadline_ms())
        times_s = [at_ms / 1000 for at_ms in deadlines_ms if at_ms is not None]
        return min(times_s if self._wake_at_s is None else [self._wake_at_s, *times_s], default=None)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queues)

    @property
    def lanes(self) -> Mapping[str, LaneQueue]:
        """What waits, by class; to be looked at only."""
        return self._queues.lanes

    @property
    def workers(self) -> Mapping[str, Worker]:
        """The workers by name, as this scheduler sees them; to be looked at only."""
        return self._fleet.workers

    @property
    def placed(self) -> int:
        """Requests that were dispatched and are not known to have ended."""
        return len(self._placements)

    @property
    def sharing(self) -> Sharing:
        """Who gets whose answer."""
        return self._sharing

    def lane_figures(self, *, now_s: float) -> list[LaneFigures]:
        """How each lane does, the most urgent class first; changes nothing."""
        running = self._fleet.workers.values() if self._mode == "continuous" else None
        return self._observations.figures(self._queues.lanes, self._controller, running=running, now_s=now_s)

    def learned(self) -> ModelFigures | None:
        """What is known of the engines of the deployment that gets work; None where nothing is."""
        return self._controller.learned()

    def inherit(self, legacy: Legacy) -> list[Effect]:
        """Go on where an earlier scheduler of the shard was, before anything else happens."""
        return restore(
            legacy,
            placements=self._placements,
            sharing=self._sharing,
            cancellations=self._cancellations,
            forward=self._forward,
        )

    def on_request(self, arrival: Arrival, latency_class: str, *, now_s: float) -> list[Effect]:
        """A record came on the lane of a class."""
        now_us = int(now_s * 1e6)
        admitted = admit(
            arrival,
            latency_class,
            policy=self._policy,
            deployment=self._deployments.target(admits=True),
            replies=self._replies,
            now_us=now_us,
        )
        if isinstance(admitted, Refusal):
            self._placements.end((admitted.tenant, admitted.id))
            return self._ended(reject(arrival, admitted, latency_class, now_us=now_us), now_us)
        self._placements.renew(admitted.key)
        if self._cancellations.take(admitted.key, now_s=now_s, produced_ms=admitted.produced_ms):
            return self._end(admitted, "cancelled", now_us)
        limited = self._tenancy.limit(admitted, now_s=now_s)
        if limited is not None:
            self._placements.end(admitted.key)
            return self._refuse(arrival, admitted, limited.error, now_us, why=limited.why)
        shared = self._share(arrival, admitted, now_s) if admitted.fingerprint else None
        if shared is not None:
            return shared
        refused = self._controller.refuse(admitted, now_s=now_s) if admitted.may_be_shed else None
        if refused is not None:
            self._placements.end(admitted.key)
            return self._refuse(arrival, admitted, too_late(admitted, refused), now_us, why=refused.why)
        return self._queue(admitted, now_s)

    def on_return(self, handback: Handback, *, now_s: float) -> list[Effect]:
        """A worker gives work back: it is dispatched again with the next hop, or ended if nobody wants it any more.

        Raises:
            InvalidRequest: the body that came back is none that was ever dispatched.
        """
        ticket = returned(handback, self._policy)
        self._tenancy.on_returned(ticket, handback.record.generated)
        self._controller.on_returned(ticket)
        place = self._placements.remove(ticket.origin)
        was_cancelled = place is not None and place.is_cancelled
        if was_cancelled or self._cancellations.take(ticket.key, now_s=now_s, produced_ms=ticket.produced_ms):
            return self._end(ticket, "cancelled", int(now_s * 1e6))
        shared = self._sharing.on_return(ticket, handback.record, self._deployments.stable or "", now_s=now_s)
        return self._queue(ticket, now_s) if shared is None else shared

    def on_heartbeat(self, heartbeat: Heartbeat, *, at_ms: int, now_s: float) -> list[Effect]:
        """A worker's state, written at `at_ms` in broker time."""
        for finished in heartbeat.finished:
            self._tenancy.on_finished(finished, now_s=now_s)
            self.on_completion(finished)
        if not self._fleet.observe(heartbeat, at_s=at_ms / 1000, now_s=now_s):
            return []
        self._follow(heartbeat)
        worker = self._fleet.workers.get(heartbeat.worker)
        if worker is not None:
            self._controller.on_worker(worker, now_s=now_s)
        return self._decide(now_s)

    def on_lanes(self, report: LaneReport, *, now_s: float) -> None:
        """A shard of the model, perhaps this one, has told what waits there."""
        self._tenancy.on_lanes(report, now_s=now_s)

    def on_completion(self, finished: Finished) -> list[Effect]:
        """A request ended at its worker."""
        place = self._placements.remove(finished.origin)
        self._tenancy.on_completion(finished, place)
        self._sharing.on_ended(finished.origin, finished.outcome)
        if place is not None:
            self._placements.end(place.key)
        if place is not None and not place.is_copy:
            tenant, _ = place.key
            self._controller.on_finished(finished, tenant=tenant, latency_class=place.latency_class)
        return []

    def knows(self, key: Key) -> bool:
        """Whether a request of this identity has come and is not forgotten."""
        waits = bool(self._queues.waiting(key) or self._placements.of(key) or self._sharing.holds(key))
        return waits or self._placements.has_ended(key)

    def on_cancel(self, cancellation: Cancellation, *, now_s: float) -> list[Effect]:
        """A sender wants a request to end, wherever it is, also if it has not come yet."""
        if cancellation.model != self._policy.model:
            return []
        key = (cancellation.tenant, cancellation.id)
        effects: list[Effect] = []
        now_us = int(now_s * 1e6)
        waiting, places, held = self._queues.waiting(key), self._placements.of(key), self._sharing.cancel(key)
        for ticket in waiting:
            self._queues.leave(ticket, is_served=False)
        for ticket in (*held, *waiting):
            effects += self._end(ticket, "cancelled", now_us)
        effects += [self._forward(place) for place in places if not place.is_cancelled]
        if not waiting and not places and not held and not self._placements.has_ended(key):
            self._cancellations.add(key, now_s=now_s)
        return effects + (self._decide(now_s) if self._sharing.has_orphans else self._gates(now_us))

    def on_control(self, record: ControlRecord, *, now_s: float) -> list[Effect]:
        """An operator or controller decided about a deployment, or which one serves the model."""
        return self._decide(now_s) if self._deployments.follow(record) else []

    def on_wake(self, *, now_s: float) -> list[Effect]:
        """Time has passed."""
        return self._decide(now_s)

    def _queue(self, ticket: Ticket, now_s: float) -> list[Effect]:
        return [self._queued(ticket, now_s), *self._decide(now_s)]

    def _queued(self, ticket: Ticket, now_s: float) -> Trace:
        self._queues.add(ticket)
        self._sharing.on_queued(ticket, self._deployments.stable or "", now_s=now_s)
        self._controller.on_queued(ticket, now_s=now_s)
        depth = len(self._queues.lanes[ticket.latency_class])
        return Trace(row=self._account.admitted(ticket, now_us=int(now_s * 1e6), queue_depth=depth))

    def _share(self, arrival: Arrival, ticket: Ticket, now_s: float) -> list[Effect] | None:
        """Give a request the answer of another one, if it is the same; None where it has to be generated."""
        shared = self._sharing.on_request(ticket, self._deployments.stable or "", now_s=now_s)
        if isinstance(shared, IdConflict):
            return self._refuse(arrival, ticket, shared, int(now_s * 1e6))
        if shared is not None and isinstance(shared[0], Answer):
            self._tenancy.on_ended_here(ticket.origin)
        return shared

    def _follow(self, heartbeat: Heartbeat) -> None:
        """Batch as the engines of the deployment do."""
        if heartbeat.deployment == self._deployments.stable and heartbeat.mode != self._mode:
            self._mode = heartbeat.mode
            self._controller = self._controllers(self._mode, self._queues, self._fleet, self._policy)

    def _decide(self, now_s: float) -> list[Effect]:
        """End what is too late, release what has room, and move the gates."""
        now_us = int(now_s * 1e6)
        effects = self._adopt(now_s)
        for overdue in (self._sharing.overdue(now_us // 1000), self._queues.overdue(now_us // 1000)):
            for ticket in overdue:
                effects += self._end(ticket, "expired", now_us)
        effects += self._adopt(now_s)
        target = self._deployments.target(admits=False)
        self._wake_at_s = None
        if target is not None:
            decision = self._controller.decide(deployment=target, now_s=now_s)
            self._wake_at_s = decision.wake_at_s
            self._observations.on_decision(decision)
            for dropped in decision.dropped:
                effects += self._end(dropped.ticket, "expired", now_us, why=dropped.why)
            for batch in decision.batches:
                effects += self._dispatch(batch, now_us)
            if decision.deferral is not None:
                effects.append(Trace(row=self._account.deferred(decision.deferral, now_us=now_us)))
        if self._sharing.has_orphans:
            self._wake_at_s = now_s
        return effects + self._gates(now_us)

    def _adopt(self, now_s: float) -> list[Effect]:
        """Queue those whose primary has ended without an answer for them."""
        if not self._sharing.has_orphans:
            return []
        return [self._queued(ticket, now_s) for ticket in self._sharing.adopt(self._deployments.stable, now_s=now_s)]

    def _dispatch(self, batch: Batch, now_us: int) -> list[Effect]:
        batch_id = self._number("b")
        effects: list[Effect] = []
        for index, part in enumerate(batch.parts):
            ticket, slot = part.ticket, part.placed.slot
            deployment = batch.worker.heartbeat.deployment
            self._placements.put(
                Place(
                    origin=ticket.origin,
                    key=ticket.key,
                    deployment=deployment,
                    slot=slot,
                    latency_class=ticket.latency_class,
                    prompt_tokens=0 if ticket.hop else ticket.demand.prompt_tokens,
                )
            )
            backlog = self._queues.lanes[ticket.latency_class].backlog(ticket.tenant)
            if self._mode == "run_to_completion":
                backlog += len(batch.parts) - 1 - index
            record = self._records.of(batch, index, batch_id=batch_id, backlog=backlog, now_us=now_us)
            effects.append(Dispatch(record=record, slot=slot, headers=ticket.headers, settles=ticket.at))
            effects.append(Trace(row=self._account.dispatched(part, batch, batch_id, now_us=now_us)))
            effects += self._sharing.on_dispatched(ticket, deployment=deployment, slot=slot, now_us=now_us)
        depth = len(self._queues)
        row = self._account.batch(batch, batch_id, now_us=now_us, queue_depth=depth)
        return [*effects, Trace(row=row)]

    def _forward(self, place: Place) -> Forward:
        place.is_cancelled = True
        tenant, request_id = place.key
        record = Cancel(id=request_id, tenant=tenant, origin=place.origin)
        return Forward(record=record, deployment=place.deployment, slot=place.slot)

    def _refuse(
        self, arrival: Arrival, ticket: Ticket, error: PipelineError, now_us: int, *, why: Why = NO_REASON
    ) -> list[Effect]:
        """Turn an admissible request away."""
        refusal = Refusal(error=error, id=ticket.id, tenant=ticket.tenant, reply=ticket.reply)
        return self._ended(reject(arrival, refusal, ticket.latency_class, now_us=now_us, why=why), now_us)

    def _end(self, ticket: Ticket, outcome: Outcome, now_us: int, *, why: Why = NO_REASON) -> list[Effect]:
        self._placements.end(ticket.key)
        self._sharing.on_ended(ticket.origin, outcome)
        ended = end(ticket, outcome, now_us=now_us, new_attempt=lambda: self._number("p"), why=why)
        return self._ended(ended, now_us)

    def _ended(self, answered: tuple[Answer, Ending], now_us: int) -> list[Effect]:
        answer, ending = answered
        self._tenancy.on_ended_here(ending.origin, used_tokens=ending.used_tokens)
        event, row = self._account.ended(ending, now_us=now_us)
        return [answer, Trace(row=event), Trace(row=row)]

    def _gates(self, now_us: int) -> list[Effect]:
        effects: list[Effect] = []
        for name, lane in self._queues.lanes.items():
            if lane.gate_moves():
                row = self._account.lane(name, is_paused=lane.is_paused, now_us=now_us, queue_depth=len(lane))
                effects += [PauseLane(latency_class=name) if lane.is_paused else ResumeLane(latency_class=name)]
                effects += [Trace(row=row)]
        return effects

    def _number(self, prefix: str) -> str:
        """An id that nobody else gives: the sender's name and a counter."""
        self._numbered += 1
        return f"{self._identity.sender}-{prefix}{self._numbered}"
