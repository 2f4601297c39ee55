"""Schedulers of several shards and the workers that they share, in virtual time: what tenants are served of each other.

A worker holds up to `SEQUENCES` requests, gives each a token every `STEP_S`, and tells everyone every `BEAT_S`. Tenants
send at a constant rate; a lane that holds `WAITING` of a tenant's requests gets no more of them, as a held lane would.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec

from processors.effects import Dispatch, Effect
from processors.events import Address, Arrival
from processors.policy import ClassPolicy, Identity, Policy, TenantPolicy
from processors.queueing.counters import COMPLETION_WEIGHT, PROMPT_WEIGHT
from processors.scheduler import Scheduler
from tests.unit.processors.builders import DEPLOYMENT, MODEL, REPLIES, T0_MS, T0_S, a_body, a_heartbeat, a_request
from topics import names
from topics.dispatches import Dispatch as DispatchRecord
from topics.fleet import Credits, Finished, Limits, Slot, StepSample

SEQUENCES = 16
STEP_S = 0.02
BEAT_S = 0.05
WAITING = 50
LANE = "interactive"
KV_TOKENS = 100_000


@dataclass
class Tenant:
    """Sends requests of one size: `share` of them to shard 0, the others to the last one."""

    name: str
    weight: float
    requests_per_s: float
    share: float = 1.0
    prompt_tokens: int = 100
    answer_tokens: int = 50
    sent: Counter[int] = field(default_factory=Counter)

    def due(self, shard: int, shards: int, now_s: float) -> int:
        """How many of its requests are still to be sent to a shard."""
        share = 1.0 if shards == 1 else self.share if shard == 0 else 1.0 - self.share if shard == shards - 1 else 0.0
        return int(share * self.requests_per_s * now_s) - self.sent[shard]


class SharedWorker:
    """An engine of constant speed behind one slot."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.waiting: deque[DispatchRecord] = deque()
        self.running: list[tuple[float, DispatchRecord]] = []
        self.seen: dict[str, int] = {}
        self.beats = 0
        self.most_waiting = 0

    def take(self, record: DispatchRecord, now_s: float) -> None:
        """A dispatch has come."""
        self.seen[record.sender] = record.seq
        self.waiting.append(record)
        self.most_waiting = max(self.most_waiting, len(self.waiting) + len(self.running) - SEQUENCES)
        self._start(now_s)

    def end(self, now_s: float) -> list[DispatchRecord]:
        """What has ended by now."""
        ended = [record for end_s, record in self.running if end_s <= now_s]
        self.running = [entry for entry in self.running if entry[0] > now_s]
        self._start(now_s)
        return ended

    def _start(self, now_s: float) -> None:
        while self.waiting and len(self.running) < SEQUENCES:
            record = self.waiting.popleft()
            tokens = msgspec.json.decode(record.body)["max_tokens"]
            self.running.append((now_s + STEP_S * tokens, record))


class SharedWorkers:
    """The world.

    Args:
        tenants: who sends what.
        shards: schedulers; `workers`: what they share.

    Attributes:
        cost: weighted tokens that each tenant was served, of requests that have ended.
    """

    def __init__(self, tenants: list[Tenant], *, shards: int, workers: int = 2) -> None:
        self.tenants = {tenant.name: tenant for tenant in tenants}
        rules = ClassPolicy(priority=1, deadline_ms=86_400_000, queue_limit=10_000, e2e_ms=3_600_000)
        policy = Policy(
            model=MODEL,
            classes={LANE: rules},
            stable=DEPLOYMENT,
            longest_deadline_ms=86_400_000,
            shards=shards,
            tenants={tenant.name: TenantPolicy(weight=tenant.weight) for tenant in tenants},
        )
        identities = [Identity(process="p", sender=f"run.{shard}.1", shard=shard) for shard in range(shards)]
        self.schedulers = [Scheduler(policy, identity, replies=REPLIES) for identity in identities]
        self.workers = [SharedWorker(slot) for slot in range(workers)]
        self.now_s = 0.0
        self.cost: Counter[str] = Counter()
        self.busy_s = 0.0
        self._offsets: Counter[int] = Counter()

    def run(self, seconds: float) -> Counter[str]:
        """Let time pass; what each tenant was served meanwhile, in weighted tokens."""
        before = Counter(self.cost)
        for _ in range(round(seconds / BEAT_S)):
            self.now_s += BEAT_S
            for shard in range(len(self.schedulers)):
                self._send(shard)
            for worker in self.workers:
                self._beat(worker)
        self.cost = +self.cost
        return self.cost - before

    def occupied_ratio(self) -> float:
        """Share of the workers' sequences that were in use, on average."""
        return self.busy_s / (self.now_s * SEQUENCES * len(self.workers))

    def most_waiting(self) -> int:
        """The most requests that ever waited inside a worker: beyond its credit."""
        return max(worker.most_waiting for worker in self.workers)

    def _send(self, shard: int) -> None:
        scheduler = self.schedulers[shard]
        for tenant in self.tenants.values():
            room = WAITING - scheduler.lanes[LANE].backlog(tenant.name)
            due = tenant.due(shard, len(self.schedulers), self.now_s)
            tenant.sent[shard] += max(0, due - room)
            for _ in range(min(due, room)):
                tenant.sent[shard] += 1
                self._do(scheduler.on_request(self._arrival(tenant, shard), LANE, now_s=T0_S + self.now_s))

    def _arrival(self, tenant: Tenant, shard: int) -> Arrival:
        self._offsets[shard] += 1
        text = "x" * (4 * (tenant.prompt_tokens - 16))
        body = a_body(messages=[{"role": "user", "content": text}], max_tokens=tenant.answer_tokens)
        return Arrival(
            at=Address(names.Lane(MODEL, LANE).topic, shard, self._offsets[shard]),
            timestamp_ms=T0_MS + int(self.now_s * 1000),
            request=a_request(f"r{shard}-{self._offsets[shard]}", tenant=tenant.name, body=body),
            headers=[],
        )

    def _beat(self, worker: SharedWorker) -> None:
        ended = worker.end(self.now_s)
        worker.beats += 1
        held = len(worker.running) * 125
        self.busy_s += BEAT_S * len(worker.running)
        heartbeat = a_heartbeat(
            f"w{worker.slot}",
            seq=worker.beats,
            running=len(worker.running),
            waiting=len(worker.waiting),
            slots=(),
            credits=Credits(
                free_sequences=max(0, SEQUENCES - len(worker.running) - len(worker.waiting)),
                free_kv_tokens=KV_TOKENS - held,
            ),
            limits=Limits(
                max_sequences=SEQUENCES, max_kv_tokens=KV_TOKENS, max_batch_tokens=8192, max_context_tokens=8192
            ),
            finished=[self._finished(record) for record in ended],
            samples=[
                StepSample(
                    duration_us=int(STEP_S * 1e6), decoding=len(worker.running), kv_tokens=held, prefill_tokens=0
                )
            ],
        )
        slots = [Slot(partition=worker.slot, term=0, seen=dict(worker.seen))]
        heartbeat = msgspec.structs.replace(heartbeat, slots=slots)
        at_ms = T0_MS + int(self.now_s * 1000)
        for scheduler in self.schedulers:
            self._do(scheduler.on_heartbeat(heartbeat, at_ms=at_ms, now_s=T0_S + self.now_s))

    def _finished(self, record: DispatchRecord) -> Finished:
        tenant = self.tenants[record.tenant]
        self.cost[tenant.name] += int(PROMPT_WEIGHT * tenant.prompt_tokens + COMPLETION_WEIGHT * tenant.answer_tokens)
        return Finished(
            origin=record.origin,
            batch_id=record.batch.id,
            prompt_tokens=tenant.prompt_tokens,
            completion_tokens=tenant.answer_tokens,
            service_us=int(STEP_S * tenant.answer_tokens * 1e6),
            outcome="completed",
            tenant=record.tenant,
            latency_class=record.latency_class,
            backlog=record.backlog,
        )

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Dispatch):
                self.workers[effect.slot].take(effect.record, self.now_s)
