"""The scheduler of one shard of one model: state and an event in, effects out, and when to be called again.

Plain synchronous code: no broker, clock, randomness or logging. The same events at the same times give the same
effects. `now_s` is broker time in seconds since the epoch; that it goes back a little now and then does no harm.

Every request that was admitted is in exactly one state: it waits in a lane, it was dispatched, or it was answered. A
worker that falls silent is given nothing more, and nothing of what it has is taken away: its slots move to another
worker with what is in them.
"""

from processors.account import Account, Ending
from processors.admission.estimates import demand_of
from processors.admission.validation import Partitions, Refusal, admit
from processors.batching.controller import NO_REASON, Batch, Controller, Refused, Why
from processors.batching.modes import Mode, controller_for
from processors.effects import Answer, Dispatch, Effect, Forward, PauseLane, ResumeLane, Trace
from processors.endings import Outcome, end, reject
from processors.events import Arrival, Handback
from processors.policy import Identity, Policy
from processors.queueing.cancellations import Cancellations
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket
from processors.routing.fleet import Fleet
from processors.routing.placements import Place, Placements
from topics.bodies import decode_body
from topics.control import ControlRecord, DeploymentState, Rollout
from topics.dispatches import BatchPart, Cancel, Stations
from topics.dispatches import Dispatch as DispatchRecord
from topics.errors import DeadlineUnmeetable
from topics.fleet import Finished, Heartbeat
from topics.headers import trace_context, trace_id
from topics.requests import Cancellation


class Scheduler:
    """Decides for one shard of one model.

    Args:
        policy: the model and its classes.
        identity: who decides; the sender is never used for another scheduler.
        replies: partitions of the response topics; the owner may change the mapping in place.
        cancellations: those that came before their requests, handed on from an earlier scheduler of the shard.
    """

    def __init__(
        self, policy: Policy, identity: Identity, *, replies: Partitions, cancellations: Cancellations | None = None
    ) -> None:
        self._policy = policy
        self._identity = identity
        self._replies = replies
        self._account = Account(policy, identity)
        self._queues = Queues({name: policy.classes[name].queue_limit for name in policy.by_priority()})
        self._fleet = Fleet(sender=identity.sender, shard=identity.shard, shards=policy.shards)
        self._placements = Placements()
        self._mode: Mode = "unknown"
        self._controller: Controller = controller_for(self._mode, self._queues, self._fleet, policy)
        self._wake_at_s: float | None = None
        self._cancellations = cancellations or Cancellations(keep_s=policy.longest_deadline_ms / 1000)
        self._stable = policy.stable
        self._states: dict[str, str] = {}
        self._numbered = 0

    @property
    def wake_at_s(self) -> float | None:
        """When `on_wake` has something to do, if nothing else happens before; None for never."""
        deadline_ms = self._queues.next_deadline_ms()
        if deadline_ms is None:
            return self._wake_at_s
        return deadline_ms / 1000 if self._wake_at_s is None else min(self._wake_at_s, deadline_ms / 1000)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queues)

    @property
    def placed(self) -> int:
        """Requests that were dispatched and are not known to have ended."""
        return len(self._placements)

    def on_request(self, arrival: Arrival, latency_class: str, *, now_s: float) -> list[Effect]:
        """A record came on the lane of a class."""
        now_us = int(now_s * 1e6)
        admitted = admit(
            arrival,
            latency_class,
            policy=self._policy,
            deployment=self._target(admits=True),
            replies=self._replies,
            now_us=now_us,
        )
        if isinstance(admitted, Refusal):
            self._placements.end((admitted.tenant, admitted.id))
            return self._ended(reject(arrival, admitted, latency_class, now_us=now_us), now_us)
        self._placements.renew(admitted.key)
        if self._cancellations.take(admitted.key, now_s=now_s):
            return self._end(admitted, "cancelled", now_us)
        refused = self._controller.refuse(admitted, now_s=now_s) if admitted.may_be_shed else None
        if refused is not None:
            return self._shed(arrival, admitted, refused, now_us)
        return self._queue(admitted, now_s)

    def on_return(self, handback: Handback, *, now_s: float) -> list[Effect]:
        """A worker gives work back: it is dispatched again with the next hop, or ended if nobody wants it any more.

        Raises:
            InvalidRequest: the body that came back is none that was ever dispatched.
        """
        ticket = self._returned(handback)
        place = self._placements.remove(ticket.origin)
        if place is not None and place.is_cancelled:
            return self._end(ticket, "cancelled", int(now_s * 1e6))
        return self._queue(ticket, now_s)

    def on_heartbeat(self, heartbeat: Heartbeat, *, at_ms: int, now_s: float) -> list[Effect]:
        """A worker's state, written at `at_ms` in broker time."""
        for finished in heartbeat.finished:
            self.on_completion(finished)
        if not self._fleet.observe(heartbeat, at_s=at_ms / 1000, now_s=now_s):
            return []
        self._follow(heartbeat)
        worker = self._fleet.workers.get(heartbeat.worker)
        if worker is not None:
            self._controller.on_worker(worker, now_s=now_s)
        return self._decide(now_s)

    def on_completion(self, finished: Finished) -> list[Effect]:
        """A request ended at its worker."""
        place = self._placements.remove(finished.origin)
        if place is not None:
            self._placements.end(place.key)
            tenant, _ = place.key
            self._controller.on_finished(finished, tenant=tenant, latency_class=place.latency_class)
        return []

    def on_cancel(self, cancellation: Cancellation, *, now_s: float) -> list[Effect]:
        """A sender wants a request to end, wherever it is, also if it has not come yet."""
        if cancellation.model != self._policy.model:
            return []
        key = (cancellation.tenant, cancellation.id)
        effects: list[Effect] = []
        now_us = int(now_s * 1e6)
        waiting, places = self._queues.waiting(key), self._placements.of(key)
        for ticket in waiting:
            self._queues.leave(ticket)
            effects += self._end(ticket, "cancelled", now_us)
        effects += [self._forward(place) for place in places if not place.is_cancelled]
        if not waiting and not places and not self._placements.has_ended(key):
            self._cancellations.add(key, now_s=now_s)
        return effects + self._gates(now_us)

    def on_control(self, record: ControlRecord, *, now_s: float) -> list[Effect]:
        """An operator or controller decided about a deployment, or which one serves the model."""
        match record:
            case Rollout() if record.model == self._policy.model:
                self._stable = record.stable
            case DeploymentState():
                self._states[record.deployment] = record.state
            case _:
                return []
        return self._decide(now_s)

    def on_wake(self, *, now_s: float) -> list[Effect]:
        """Time has passed."""
        return self._decide(now_s)

    def _queue(self, ticket: Ticket, now_s: float) -> list[Effect]:
        now_us = int(now_s * 1e6)
        self._queues.add(ticket)
        self._controller.on_queued(ticket, now_s=now_s)
        depth = len(self._queues.lanes[ticket.latency_class])
        admitted = Trace(row=self._account.admitted(ticket, now_us=now_us, queue_depth=depth))
        return [admitted, *self._decide(now_s)]

    def _follow(self, heartbeat: Heartbeat) -> None:
        """Batch as the engines of the deployment do."""
        if heartbeat.deployment == self._stable and heartbeat.mode != self._mode:
            self._mode = heartbeat.mode
            self._controller = controller_for(self._mode, self._queues, self._fleet, self._policy)

    def _decide(self, now_s: float) -> list[Effect]:
        """End what is too late, release what has room, and move the gates."""
        now_us = int(now_s * 1e6)
        effects: list[Effect] = []
        for ticket in self._queues.overdue(now_us // 1000):
            effects += self._end(ticket, "expired", now_us)
        target = self._target(admits=False)
        self._wake_at_s = None
        if target is not None:
            decision = self._controller.decide(deployment=target, now_s=now_s)
            self._wake_at_s = decision.wake_at_s
            for dropped in decision.dropped:
                effects += self._end(dropped.ticket, "expired", now_us, why=dropped.why)
            for batch in decision.batches:
                effects += self._dispatch(batch, now_us)
            if decision.deferral is not None:
                effects.append(Trace(row=self._account.deferred(decision.deferral, now_us=now_us)))
        return effects + self._gates(now_us)

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
                )
            )
            record = self._record(batch, index, BatchPart(id=batch_id, index=index, size=len(batch.parts)), now_us)
            effects.append(Dispatch(record=record, slot=slot, headers=ticket.headers, settles=ticket.at))
            effects.append(Trace(row=self._account.dispatched(part, batch, batch_id, now_us=now_us)))
        depth = len(self._queues)
        row = self._account.batch(batch, batch_id, now_us=now_us, queue_depth=depth)
        return [*effects, Trace(row=row)]

    def _record(self, batch: Batch, index: int, part: BatchPart, now_us: int) -> DispatchRecord:
        ticket, placed = batch.parts[index].ticket, batch.parts[index].placed
        return DispatchRecord(
            id=ticket.id,
            tenant=ticket.tenant,
            model=self._policy.model,
            latency_class=ticket.latency_class,
            deployment=batch.worker.heartbeat.deployment,
            endpoint=ticket.endpoint,
            body=ticket.body,
            origin=ticket.origin,
            reply=ticket.reply,
            deadline_at_ms=ticket.deadline_at_ms,
            priority=ticket.priority,
            hop=ticket.hop,
            first_dispatched_at_ms=ticket.first_dispatched_at_ms,
            sender=self._identity.sender,
            seq=placed.seq,
            batch=part,
            stations=Stations(
                produced_at_us=ticket.produced_ms * 1000,
                admitted_at_us=ticket.admitted_us,
                batched_at_us=now_us,
                dispatched_at_us=now_us,
            ),
            reason=batch.parts[index].why.reason,
        )

    def _returned(self, handback: Handback) -> Ticket:
        record = handback.record
        dispatch = record.dispatch
        known = dispatch.latency_class in self._queues.lanes
        latency_class = dispatch.latency_class if known else self._policy.by_priority()[-1]
        yields = self._policy.classes[latency_class].yields
        return Ticket(
            at=handback.at,
            origin=dispatch.origin,
            id=dispatch.id,
            tenant=dispatch.tenant,
            latency_class=latency_class,
            endpoint=dispatch.endpoint,
            body=dispatch.body,
            reply=dispatch.reply,
            produced_ms=dispatch.stations.produced_at_us // 1000,
            admitted_us=dispatch.stations.admitted_at_us,
            deadline_at_ms=dispatch.deadline_at_ms,
            due_at_ms=dispatch.deadline_at_ms,
            priority=dispatch.priority,
            demand=demand_of(decode_body(dispatch.endpoint, dispatch.body), yields=yields),
            headers=trace_context(handback.headers),
            trace_id=trace_id(handback.headers),
            hop=dispatch.hop + 1,
            first_dispatched_at_ms=dispatch.first_dispatched_at_ms or record.dispatched_at_ms,
        )

    def _forward(self, place: Place) -> Forward:
        place.is_cancelled = True
        tenant, request_id = place.key
        record = Cancel(id=request_id, tenant=tenant, origin=place.origin)
        return Forward(record=record, deployment=place.deployment, slot=place.slot)

    def _shed(self, arrival: Arrival, ticket: Ticket, refused: Refused, now_us: int) -> list[Effect]:
        """Turn an admissible request away: the prediction says that it would be too late."""
        self._placements.end(ticket.key)
        target_ms = ticket.due_at_ms - ticket.produced_ms
        error = DeadlineUnmeetable(
            f"its target of {target_ms} ms cannot be met at present ({refused.why.reason}); "
            f"try again in {refused.retry_after_s:.1f} s, or name a longer deadline_ms",
            param="deadline_ms",
            retry_after_s=refused.retry_after_s,
        )
        refusal = Refusal(error=error, id=ticket.id, tenant=ticket.tenant, reply=ticket.reply)
        answer = reject(arrival, refusal, ticket.latency_class, now_us=now_us, why=refused.why)
        return self._ended(answer, now_us)

    def _end(self, ticket: Ticket, outcome: Outcome, now_us: int, *, why: Why = NO_REASON) -> list[Effect]:
        self._placements.end(ticket.key)
        ended = end(ticket, outcome, now_us=now_us, new_attempt=lambda: self._number("p"), why=why)
        return self._ended(ended, now_us)

    def _ended(self, answered: tuple[Answer, Ending], now_us: int) -> list[Effect]:
        answer, ending = answered
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

    def _target(self, *, admits: bool) -> str | None:
        """The deployment that gets work; one that drains gets none, but its model goes on taking requests."""
        if self._stable is None:
            return None
        state = self._states.get(self._stable, "active")
        return self._stable if state == "active" or (admits and state == "draining") else None

    def _number(self, prefix: str) -> str:
        """An id that nobody else gives: the sender's name and a counter."""
        self._numbered += 1
        return f"{self._identity.sender}-{prefix}{self._numbered}"
