"""Plays with a controller alone: no admission, records or rows around it. What baselines and sweeps use."""

from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.rtc.pool import DEPLOYMENT, START_S, heartbeat_of, policy_for, warm_up
from pipeline.simulation.rtc.world import Move, Sent, Told, Traffic
from processors.batching.controller import Controller, Decision
from processors.events import Address
from processors.policy import Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Demand, Ticket
from processors.routing.fleet import Fleet
from topics.bodies import COMPLETIONS
from topics.fleet import Finished, Heartbeat
from topics.requests import ReplyTo

Make = Callable[[Queues, Fleet, Policy], Controller]

_SENDER: Final = "simulation"
_NO_BODY: Final = msgspec.Raw(b"{}")
_REPLY: Final = ReplyTo(topic="inference.responses", partition=0)
_TENANT: Final = "default"


class ControllerPlayer:
    """`pipeline.simulation.rtc.world.Player` of one controller with queues and a fleet of its own.

    Args:
        make: builds the controller.
        traffic, engine, workers, hop_s: what it will play with.
        knows_tokens: whether requests show how long they are.
    """

    def __init__(
        self,
        make: Make,
        traffic: Traffic,
        engine: Engine,
        *,
        workers: int,
        hop_s: float,
        knows_tokens: bool = True,
    ) -> None:
        self._traffic = traffic
        self._engine = engine
        self._knows_tokens = knows_tokens
        policy = policy_for(traffic, hop_s=hop_s)
        self._priorities = {name: rules.priority for name, rules in policy.classes.items()}
        self._queues = Queues({name: policy.classes[name].queue_limit for name in policy.by_priority()})
        self._fleet = Fleet(sender=_SENDER)
        self.controller = make(self._queues, self._fleet, policy)
        self._numbered = 0
        self._last_seq: list[list[int]] = [[0] for _ in range(workers)]
        self._seqs = [0] * workers
        for worker in range(workers):
            heartbeat = self.heartbeat(Told(worker, 0.0, (), 0, 0, 0))
            first = msgspec.structs.replace(heartbeat, batches=warm_up(self._engine, self._traffic))
            self.learn(first, [], 0.0, 0.0)

    def arrive(self, index: int, *, now_s: float) -> Move:
        is_queued = self.queue(self.ticket(index, now_s), now_s)
        move = self._decide(now_s)
        if not is_queued:
            move.turned_away.append(index)
        return move

    def hear(self, told: Told, *, now_s: float) -> Move:
        self.learn(self.heartbeat(told), self.finished(told), told.at_s, now_s)
        return self._decide(now_s)

    def wake(self, *, now_s: float) -> Move:
        return self._decide(now_s)

    def queue(self, ticket: Ticket, now_s: float) -> bool:
        """Let a request wait, unless the controller refuses it."""
        if self.controller.refuse(ticket, now_s=START_S + now_s) is not None:
            return False
        self._queues.add(ticket)
        self.controller.on_queued(ticket, now_s=START_S + now_s)
        return True

    def learn(self, heartbeat: Heartbeat, finished: list[Finished], at_s: float, now_s: float) -> None:
        """Take a heartbeat, and first what ended by it."""
        for each in finished:
            self.controller.on_finished(each, tenant=_TENANT, latency_class="")
        if self._fleet.observe(heartbeat, at_s=START_S + at_s, now_s=START_S + now_s):
            self.controller.on_worker(self._fleet.workers[heartbeat.worker], now_s=START_S + now_s)

    def heartbeat(self, told: Told) -> Heartbeat:
        self._seqs[told.worker] += 1
        seen = {_SENDER: self._last_seq[told.worker][told.reached]}
        return heartbeat_of(told, self._engine, self._traffic, seq=self._seqs[told.worker], seen=seen)

    def finished(self, told: Told) -> list[Finished]:
        return [_finished(index, sent.name) for sent in told.ended for index in sent.requests]

    def _decide(self, now_s: float) -> Move:
        decision: Decision = self.controller.decide(deployment=DEPLOYMENT, now_s=START_S + now_s)
        sent = []
        for batch in decision.batches:
            worker = batch.parts[0].placed.slot
            self._numbered += 1
            sent.append(Sent(worker, f"b{self._numbered}", [part.ticket.at.offset for part in batch.parts]))
            self._last_seq[worker].append(batch.parts[-1].placed.seq)
        wake_at_s = None if decision.wake_at_s is None else decision.wake_at_s - START_S
        return Move(sent, [dropped.ticket.at.offset for dropped in decision.dropped], wake_at_s)

    def ticket(self, index: int, now_s: float) -> Ticket:
        latency_class = self._traffic.classes[index]
        due_at_ms = int(1000 * (START_S + self._traffic.due_s(index)))
        at = Address(latency_class, 0, index)
        tokens = self._traffic.tokens[index] if self._knows_tokens else 1
        return Ticket(
            at=at,
            origin=str(index),
            id=str(index),
            tenant=_TENANT,
            latency_class=latency_class,
            endpoint=COMPLETIONS,
            body=_NO_BODY,
            reply=_REPLY,
            produced_ms=int(1000 * (START_S + now_s)),
            admitted_us=0,
            deadline_at_ms=due_at_ms,
            due_at_ms=due_at_ms,
            priority=self._priorities[latency_class],
            demand=Demand(1, tokens, tokens),
            headers=[],
            trace_id=b"",
            may_be_shed=True,
        )


def _finished(index: int, batch_id: str) -> Finished:
    return Finished(
        origin=str(index),
        batch_id=batch_id,
        prompt_tokens=0,
        completion_tokens=0,
        service_us=0,
        outcome="completed",
    )
