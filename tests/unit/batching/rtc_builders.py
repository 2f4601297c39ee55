"""A run-to-completion controller with queues, a fleet and workers of its own. Time starts at `T0_S`."""

from typing import Any, Final

import msgspec

from processors.batching.controller import Decision
from processors.batching.run_to_completion import RunToCompletion
from processors.events import Address
from processors.policy import ClassPolicy, Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Demand, Ticket
from processors.routing.fleet import Fleet
from topics.bodies import COMPLETIONS
from topics.fleet import BatchTiming, Credits, Finished, Heartbeat, Limits, Slot
from topics.requests import ReplyTo

T0_S: Final = 1_000.0
HOP_S: Final = 0.002
DEPLOYMENT: Final = "m@v1"
SENDER: Final = "s"
BASE_S, EACH_S = 0.005, 0.0008
CLASSES: Final = {
    "realtime": ClassPolicy(priority=0, deadline_ms=300, queue_limit=100_000, e2e_ms=60),
    "standard": ClassPolicy(priority=1, deadline_ms=10_000, queue_limit=100_000, e2e_ms=2000),
    "bulk": ClassPolicy(priority=2, deadline_ms=3_600_000, queue_limit=100_000, yields=True),
}


def service_s(size: int) -> float:
    return BASE_S + EACH_S * size


def a_ticket(
    number: int,
    *,
    now_s: float = T0_S,
    due_in_s: float | None = None,
    latency_class: str = "realtime",
    tokens: int = 1,
    **changes: Any,
) -> Ticket:
    rules = CLASSES[latency_class]
    due_at_ms = int(1000 * (now_s + (rules.target_ms / 1000 if due_in_s is None else due_in_s)))
    fields = {
        "at": Address("lane", 0, number),
        "origin": f"lane/0/{number}",
        "id": f"r{number}",
        "tenant": "default",
        "latency_class": latency_class,
        "endpoint": COMPLETIONS,
        "body": msgspec.Raw(b"{}"),
        "reply": ReplyTo(topic="inference.responses", partition=0),
        "produced_ms": int(1000 * now_s),
        "admitted_us": int(1e6 * now_s),
        "deadline_at_ms": max(due_at_ms, int(1000 * now_s) + rules.deadline_ms),
        "due_at_ms": due_at_ms,
        "priority": rules.priority,
        "demand": Demand(1, tokens, tokens, rules.yields),
        "headers": [],
        "trace_id": b"",
        "may_be_shed": not rules.yields,
    }
    return Ticket(**{**fields, **changes})


class Pool:
    """Drives a controller by hand: queue, decide, and let workers tell."""

    def __init__(
        self,
        *workers: str,
        max_size: int = 64,
        max_tokens: int = 1_000_000,
        shard: int = 0,
        shards: int = 1,
        slots_each: int = 1,
    ) -> None:
        self.max_size, self.max_tokens, self.slots_each = max_size, max_tokens, slots_each
        self.policy = Policy(
            model="m",
            classes=CLASSES,
            stable=DEPLOYMENT,
            longest_deadline_ms=3_600_000,
            hop_s=HOP_S,
            shards=shards,
        )
        self.queues = Queues({name: rules.queue_limit for name, rules in CLASSES.items()})
        self.fleet = Fleet(sender=SENDER, shard=shard, shards=shards)
        self.controller = RunToCompletion(self.queues, self.fleet, self.policy)
        self.sent: dict[str, list[list[Ticket]]] = {}
        self._seqs: dict[str, int] = {}
        self._names = list(workers)
        self._last_seq: dict[str, int] = {}
        for worker in workers:
            self.beat(worker, warm=True)

    def queue(self, *tickets: Ticket, now_s: float = T0_S) -> None:
        for ticket in tickets:
            self.queues.add(ticket)
            self.controller.on_queued(ticket, now_s=now_s)

    def decide(self, now_s: float = T0_S) -> Decision:
        decision = self.controller.decide(deployment=DEPLOYMENT, now_s=now_s)
        for batch in decision.batches:
            self.sent.setdefault(batch.worker.name, []).append([part.ticket for part in batch.parts])
            self._last_seq[batch.worker.name] = batch.parts[-1].placed.seq
        return decision

    def finish(self, worker: str, *, now_s: float, factor: float = 1.0) -> None:
        """The worker's oldest batch has ended one hop ago."""
        tickets = self.sent[worker].pop(0)
        size = len(tickets)
        name = f"b{tickets[0].id}"
        finished = [
            Finished(
                origin=ticket.origin,
                batch_id=name,
                prompt_tokens=1,
                completion_tokens=1,
                service_us=1,
                outcome="completed",
            )
            for ticket in tickets
        ]
        timing = BatchTiming(id=name, size=size, tokens=size, service_us=int(1e6 * factor * service_s(size)))
        for each in finished:
            self.controller.on_finished(each, tenant="default", latency_class="realtime")
        self.beat(worker, now_s=now_s, batches=[timing])

    def beat(self, worker: str, *, now_s: float = T0_S, warm: bool = False, **changes: Any) -> None:
        self._seqs[worker] = self._seqs.get(worker, 0) + 1
        running = sum(map(len, self.sent.get(worker, [])))
        warm_up = [
            BatchTiming(size=size, tokens=size, service_us=int(1e6 * service_s(size))) for size in (1, 4, 16, 64)
        ]
        fields = {
            "worker": worker,
            "run": "1",
            "seq": self._seqs[worker],
            "at_ms": int(1000 * (now_s - HOP_S)),
            "model": "m",
            "deployment": DEPLOYMENT,
            "engine": "simulated",
            "state": "ready",
            "running": running,
            "slots": self._slots(worker),
            "credits": Credits(free_sequences=self.max_size, free_kv_tokens=1_000_000),
            "limits": Limits(
                max_sequences=self.max_size,
                max_kv_tokens=1_000_000,
                max_batch_tokens=self.max_tokens,
                max_context_tokens=1_000_000,
            ),
            "mode": "run_to_completion",
            "batches": warm_up if warm else [],
        }
        heartbeat = Heartbeat(**{**fields, **changes})
        assert self.fleet.observe(heartbeat, at_s=now_s - HOP_S, now_s=now_s)
        self.controller.on_worker(self.fleet.workers[worker], now_s=now_s)

    def _slots(self, worker: str) -> list[Slot]:
        first = self.slots_each * self._names.index(worker)
        seen = {SENDER: self._last_seq.get(worker, 0)}
        return [Slot(partition=first + index, term=0, seen=seen) for index in range(self.slots_each)]


def sizes_of(decision: Decision) -> list[int]:
    return [len(batch.parts) for batch in decision.batches]
