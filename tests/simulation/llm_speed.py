"""How fast the controller for continuous batching decides with eight workers and many requests waiting."""

import gc
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import msgspec
import numpy as np

from pipeline.simulation.llm.traffic import SimRequest, requests
from processors.batching.continuous import Continuous
from processors.batching.controller import Part
from processors.events import Address
from processors.policy import ClassPolicy, Policy
from processors.queueing.queues import Queues
from processors.queueing.ticket import Demand, Ticket
from processors.routing.fleet import Fleet
from topics.bodies import COMPLETIONS
from topics.fleet import Credits, Finished, Heartbeat, Limits, Slot, StepSample
from topics.requests import ReplyTo

WORKERS: Final = 8
QUEUED: Final = 1_000
"""Requests that wait all the time, half of them of each class."""
TENANTS: Final = 8
SEQUENCES: Final = 1024
STEP_TOKENS: Final = 2048
KV_TOKENS: Final = 400_000
FIXED_S, SEQUENCE_S, KV_TOKEN_S, PROMPT_TOKEN_S = 0.006, 1.5e-5, 4.9e-8, 3.5e-5
BEAT_S: Final = 0.025
DEPLOYMENT: Final = "simulated@v1"
START_S: Final = 1_000.0
_SENDER: Final = "simulation"
_HOUR_MS: Final = 3_600_000
_CLASSES: Final = {
    "interactive": ClassPolicy(
        priority=1, deadline_ms=24 * _HOUR_MS, queue_limit=1_000_000, ttft_ms=4 * _HOUR_MS, tpot_ms=50
    ),
    "standard": ClassPolicy(
        priority=2, deadline_ms=24 * _HOUR_MS, queue_limit=1_000_000, ttft_ms=8 * _HOUR_MS, tpot_ms=100
    ),
}
"""Nobody is turned away for a long queue: it has to stay long."""
_WARM_UP: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Requests decided per second of CPU, and the p99 of the CPU time of a call that decides, in microseconds."""

    requests_per_s: float
    call_p99_us: float

    @property
    def request_us(self) -> float:
        """Of a decided request, everything counted."""
        return 1e6 / self.requests_per_s


def measure(decided: int = 6_000, *, queued: int = QUEUED) -> Speed:
    """Requests come one by one, workers speak every 25 ms, and everybody is as full as promises allow.

    A request's share of the time is that of its arrival and of the calls that look for a place for it, those in which
    there is none with them.
    """
    return _Drive().run(decided, queued)


def measure_best(runs: int = 3, *, queued: int = QUEUED) -> Speed:
    """The least disturbed of several measurements."""
    return max((measure(queued=queued) for _ in range(runs)), key=lambda speed: speed.requests_per_s)


class _Drive:
    """A controller with queues and a fleet of its own."""

    def __init__(self) -> None:
        policy = Policy(model="simulated", classes=_CLASSES, stable=DEPLOYMENT, longest_deadline_ms=24 * _HOUR_MS)
        self._queues = Queues({name: rules.queue_limit for name, rules in _CLASSES.items()})
        self._fleet = Fleet(sender=_SENDER)
        self._controller = Continuous(self._queues, self._fleet, policy)
        self._seqs = [0] * WORKERS
        self._seen = [0] * WORKERS
        self._held: list[deque[tuple[float, Ticket, int]]] = [deque() for _ in range(WORKERS)]
        self._begun = [0.0] * WORKERS
        self._traffic = cycle(requests("poisson", 200.0, 30.0, 1))
        self._numbered = 0
        self.calls_s: list[float] = []
        self.decided = 0

    def run(self, decided: int, queued: int) -> Speed:
        for _ in range(4):
            for worker in range(WORKERS):
                self._beat(worker, 0.0)
        gc.collect()
        gc.freeze()
        now_s, turn, before = 0.0, 0, 0
        while self.decided < _WARM_UP + decided:
            now_s += BEAT_S / WORKERS
            turn = (turn + 1) % WORKERS
            self._beat(turn, now_s)
            while len(self._queues) < queued:
                self._arrive(now_s)
            if self.decided < _WARM_UP:
                self.calls_s.clear()
                before = self.decided
        gc.unfreeze()
        return Speed(
            requests_per_s=(self.decided - before) / sum(self.calls_s),
            call_p99_us=1e6 * float(np.quantile(self.calls_s, 0.99)),
        )

    def _arrive(self, now_s: float) -> None:
        ticket = self._ticket(next(self._traffic), now_s)
        begin = time.thread_time()
        if self._controller.refuse(ticket, now_s=START_S + now_s) is None:
            self._queues.add(ticket)
            self._controller.on_queued(ticket, now_s=START_S + now_s)
        parts = self._decide(now_s)
        self.calls_s.append(time.thread_time() - begin)
        self._take(parts, now_s)

    def _beat(self, worker: int, now_s: float) -> None:
        heartbeat, ended = self._heartbeat(worker, now_s)
        begin = time.thread_time()
        for finished in ended:
            self._controller.on_finished(finished, tenant=finished.tenant, latency_class=finished.latency_class)
        if self._fleet.observe(heartbeat, at_s=START_S + now_s, now_s=START_S + now_s):
            self._controller.on_worker(self._fleet.workers[heartbeat.worker], now_s=START_S + now_s)
        parts = self._decide(now_s)
        self.calls_s.append(time.thread_time() - begin)
        self._take(parts, now_s)

    def _decide(self, now_s: float) -> list[Part]:
        decision = self._controller.decide(deployment=DEPLOYMENT, now_s=START_S + now_s)
        return [part for batch in decision.batches for part in batch.parts]

    def _take(self, parts: list[Part], now_s: float) -> None:
        """What was released runs for as many steps as its answer has tokens."""
        self.decided += len(parts)
        for part in parts:
            slot, answer_tokens = part.placed.slot, part.ticket.at.offset
            self._held[slot].append((now_s + 0.05 * answer_tokens, part.ticket, answer_tokens))
            self._seen[slot] = part.placed.seq

    def _heartbeat(self, worker: int, now_s: float) -> tuple[Heartbeat, list[Finished]]:
        held = self._held[worker]
        ended = [entry for entry in held if entry[0] <= now_s]
        self._held[worker] = held = deque(entry for entry in held if entry[0] > now_s)
        kv_tokens = sum(ticket.demand.prompt_tokens + tokens // 2 for _, ticket, tokens in held)
        self._seqs[worker] += 1
        prompt_tokens = 0 if self._seqs[worker] % 2 else 128 * (self._seqs[worker] % 8)
        duration_s = FIXED_S + SEQUENCE_S * len(held) + KV_TOKEN_S * kv_tokens + PROMPT_TOKEN_S * prompt_tokens
        sample = StepSample(
            duration_us=int(1e6 * duration_s), decoding=len(held), kv_tokens=kv_tokens, prefill_tokens=prompt_tokens
        )
        heartbeat = Heartbeat(
            worker=f"w{worker}",
            run="1",
            seq=self._seqs[worker],
            at_ms=int(1000 * (START_S + now_s)),
            model="simulated",
            deployment=DEPLOYMENT,
            engine="simulated",
            state="ready",
            running=len(held),
            slots=[Slot(partition=worker, term=0, seen={_SENDER: self._seen[worker]})],
            credits=Credits(free_sequences=SEQUENCES - len(held), free_kv_tokens=KV_TOKENS - kv_tokens),
            limits=Limits(
                max_sequences=SEQUENCES,
                max_kv_tokens=KV_TOKENS,
                max_batch_tokens=STEP_TOKENS,
                max_context_tokens=KV_TOKENS,
            ),
            samples=[sample] * (8 if self._seqs[worker] < 8 else 2),
        )
        return heartbeat, [_finished(ticket, tokens) for _, ticket, tokens in ended]

    def _ticket(self, request: SimRequest, now_s: float) -> Ticket:
        self._numbered += 1
        latency_class = ("interactive", "standard")[self._numbered % 2]
        rules = _CLASSES[latency_class]
        now_ms = int(1000 * (START_S + now_s))
        return Ticket(
            at=Address(latency_class, 0, request.answer_tokens),
            origin=str(self._numbered),
            id=str(self._numbered),
            tenant=f"t{self._numbered % TENANTS}",
            latency_class=latency_class,
            endpoint=COMPLETIONS,
            body=msgspec.Raw(b"{}"),
            reply=ReplyTo(topic="inference.responses", partition=0),
            produced_ms=now_ms,
            admitted_us=1000 * now_ms,
            deadline_at_ms=now_ms + rules.deadline_ms,
            due_at_ms=now_ms + rules.target_ms,
            priority=rules.priority,
            demand=Demand(1, request.prompt_tokens, request.prompt_tokens + 2 * request.answer_tokens),
            headers=[],
            trace_id=b"",
            may_be_shed=True,
        )


def _finished(ticket: Ticket, answer_tokens: int) -> Finished:
    return Finished(
        origin=ticket.origin,
        batch_id="b",
        prompt_tokens=ticket.demand.prompt_tokens,
        completion_tokens=answer_tokens,
        service_us=int(1e6 * 0.04 * answer_tokens),
        first_token_us=0,
        outcome="completed",
        tenant=ticket.tenant,
        latency_class=ticket.latency_class,
    )
