"""Builders of what a continuous controller is told. The engine of these tests costs 10 ms a step and a bit."""

from typing import Any

import msgspec

from processors.batching.continuous import Continuous
from processors.batching.controller import Decision
from processors.events import Address
from processors.policy import ClassPolicy, Policy, TenantPolicy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Demand, Ticket
from processors.routing.fleet import Fleet
from topics import names
from topics.bodies import CHAT
from topics.fleet import Credits, Finished, Heartbeat, Limits, Slot, StepSample
from topics.requests import ReplyTo

T0_S = 1_800_000_000.0
DEPLOYMENT = "m@v1"
SENDER = "s"
FIXED_S, SEQUENCE_S, KV_S, PROMPT_S = 0.010, 2e-5, 5e-8, 4e-5
CLASSES = {
    "interactive": ClassPolicy(priority=1, deadline_ms=60_000, queue_limit=10_000, ttft_ms=1000, tpot_ms=50),
    "batchy": ClassPolicy(priority=2, deadline_ms=60_000, queue_limit=10_000),
    "bulk": ClassPolicy(priority=3, deadline_ms=600_000, queue_limit=10_000, yields=True),
}


class Desk:
    """A controller with its queues and fleet, and a clock that tests move."""

    def __init__(
        self, *, shard: int = 0, shards: int = 1, tenants: dict[str, TenantPolicy] | None = None, learned: int = 0
    ) -> None:
        policy = Policy(
            model="m",
            classes=CLASSES,
            stable=DEPLOYMENT,
            longest_deadline_ms=600_000,
            shards=shards,
            tenants=tenants or {},
            hop_s=0.003,
        )
        limits = {name: CLASSES[name].queue_limit for name in policy.by_priority()}
        self.queues = Queues(limits, policy.tenants)
        self.fleet = Fleet(sender=SENDER, shard=shard, shards=shards)
        self.controller = Continuous(self.queues, self.fleet, policy)
        self.now_s = T0_S
        self.beats = 0
        self.asked = 0
        if learned:
            self.learn(learned)

    def learn(self, steps: int) -> None:
        """The worker `w0` times so many steps and is idle after that."""
        for start in range(0, steps, 8):
            samples = [a_sample(n) for n in range(start, min(steps, start + 8))]
            self.beat("w0", samples=[*samples, msgspec.structs.replace(samples[-1], kv_tokens=0)])
        self.controller.decide(deployment=DEPLOYMENT, now_s=self.now_s)

    def beat(self, worker: str = "w0", *, free: int = 256, **changes: Any) -> None:
        """A heartbeat of a worker; slot and number follow from its name."""
        self.beats += 1
        slot = int(worker[1:])
        defaults: dict[str, Any] = {
            "worker": worker,
            "run": "1",
            "seq": self.beats,
            "at_ms": self.beats,
            "model": "m",
            "deployment": DEPLOYMENT,
            "engine": "simulated",
            "state": "ready",
            "running": 0,
            "slots": [Slot(partition=slot, term=0, seen={})],
            "credits": Credits(free_sequences=free, free_kv_tokens=400_000),
            "limits": Limits(
                max_sequences=256, max_kv_tokens=400_000, max_batch_tokens=2048, max_context_tokens=100_000
            ),
        }
        heartbeat = Heartbeat(**{**defaults, **changes})
        if self.fleet.observe(heartbeat, at_s=self.now_s, now_s=self.now_s):
            self.controller.on_worker(self.fleet.workers[worker], now_s=self.now_s)

    def queue(self, count: int = 1, **fields: Any) -> list[Ticket]:
        """Let requests wait."""
        tickets = [self.ticket(**fields) for _ in range(count)]
        for ticket in tickets:
            self.queues.add(ticket)
            self.controller.on_queued(ticket, now_s=self.now_s)
        return tickets

    def ticket(
        self,
        latency_class: str = "interactive",
        *,
        prompt: int = 400,
        answer: int = 512,
        sequences: int = 1,
        tenant: str = "a",
        target_s: float | None = None,
        **fields: Any,
    ) -> Ticket:
        rules = CLASSES[latency_class]
        now_ms = int(self.now_s * 1000)
        due_s = rules.target_ms / 1000 if target_s is None else target_s
        self.asked += 1
        at = Address(names.Lane("m", latency_class).topic, 0, self.asked)
        defaults: dict[str, Any] = {
            "at": at,
            "origin": at.origin,
            "id": f"r{self.asked}",
            "tenant": tenant,
            "latency_class": latency_class,
            "endpoint": CHAT,
            "body": msgspec.Raw(b"{}"),
            "reply": ReplyTo(topic=names.RESPONSES, partition=0),
            "produced_ms": now_ms,
            "admitted_us": now_ms * 1000,
            "deadline_at_ms": now_ms + rules.deadline_ms,
            "due_at_ms": now_ms + int(1000 * due_s),
            "priority": rules.priority,
            "demand": Demand(sequences, prompt, prompt + sequences * answer, rules.yields),
            "headers": [],
            "trace_id": bytes(16),
            "may_be_shed": not rules.yields,
        }
        return Ticket(**{**defaults, **fields})

    def decide(self) -> Decision:
        return self.controller.decide(deployment=DEPLOYMENT, now_s=self.now_s)

    def finish(self, ticket: Ticket, *, tokens: int = 100, token_s: float = 0.02) -> None:
        first_us = 50_000
        self.controller.on_finished(
            Finished(
                origin=ticket.origin,
                batch_id="b",
                prompt_tokens=ticket.demand.prompt_tokens,
                completion_tokens=tokens,
                service_us=first_us + round((tokens - 1) * token_s * 1e6),
                outcome="completed",
                first_token_us=first_us,
            ),
            tenant=ticket.tenant,
            latency_class=ticket.latency_class,
        )


def a_sample(number: int) -> StepSample:
    """The `number`-th of a series of steps of all sizes, timed without noise."""
    decoding, kv_tokens = number * 37 % 200, number * 5003 % 150_000
    prompt_tokens = (0, 0, 300, 1500)[number % 4]
    seconds = FIXED_S + SEQUENCE_S * decoding + KV_S * kv_tokens + PROMPT_S * prompt_tokens
    return StepSample(
        duration_us=round(seconds * 1e6), decoding=decoding, kv_tokens=kv_tokens, prefill_tokens=prompt_tokens
    )


def released(decision: Decision) -> list[str]:
    return [part.ticket.id for batch in decision.batches for part in batch.parts]


def by_worker(decision: Decision) -> dict[str, int]:
    return {batch.worker.name: len(batch.parts) for batch in decision.batches}
