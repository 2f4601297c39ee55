"""Schedulers of several shards and the workers that they share, in virtual time: what tenants are served of each other.

A worker holds up to `SEQUENCES` sequences and a number of KV tokens, gives each sequence a token every `STEP_S`, and
tells everyone every `BEAT_S`; every `REPORT_S` a shard tells the others what waits in it. Tenants send at a constant
rate; a lane that holds `WAITING` of a tenant's requests gets no more of them, as a held lane would.
"""

from collections import Counter, deque
from dataclasses import dataclass, field, replace

import msgspec

from processors.effects import Answer, Dispatch, Effect
from processors.events import Address, Arrival
from processors.policy import ClassPolicy, Identity, Policy, TenantPolicy
from processors.queueing.counters import COMPLETION_WEIGHT, PROMPT_WEIGHT
from processors.scheduler import Scheduler
from tests.unit.processors.builders import DEPLOYMENT, MODEL, REPLIES, T0_MS, T0_S, a_body, a_heartbeat, a_request
from topics import names
from topics.dispatches import Dispatch as DispatchRecord
from topics.fleet import Credits, Finished, LaneReport, Limits, Slot, StepSample

SEQUENCES = 16
STEP_S = 0.02
BEAT_S = 0.05
REPORT_S = 1.0
WAITING = 50
LANE = "interactive"
KV_TOKENS = 100_000
LANES = {"realtime": 0, LANE: 1, "standard": 2, "bulk": 3}
"""Classes by priority; the last one yields."""


@dataclass
class Tenant:
    """Sends requests of one size: `share` of them to shard 0, the others to the last one; or all to the one it is `at`.

    Each asks for `choices` answers of `answer_tokens` tokens.
    """

    name: str
    weight: float
    requests_per_s: float
    share: float = 1.0
    prompt_tokens: int = 100
    answer_tokens: int = 50
    choices: int = 1
    at: int | None = None
    latency_class: str = LANE
    sent: Counter[int] = field(default_factory=Counter)

    def due(self, shard: int, shards: int, now_s: float) -> int:
        """How many of its requests are still to be sent to a shard."""
        if self.at is not None:
            return int(self.requests_per_s * now_s) - self.sent[shard] if shard == self.at % shards else 0
        share = 1.0 if shards == 1 else self.share if shard == 0 else 1.0 - self.share if shard == shards - 1 else 0.0
        return int(share * self.requests_per_s * now_s) - self.sent[shard]


@dataclass
class Held:
    """A request in a worker: sequences and KV tokens that it occupies, and how long its answers are."""

    record: DispatchRecord
    sequences: int
    kv_tokens: int
    answer_tokens: int
    end_s: float = 0.0


class SharedWorker:
    """An engine of constant speed behind one slot."""

    def __init__(self, slot: int, kv_tokens: int) -> None:
        self.slot = slot
        self.kv_tokens = kv_tokens
        self.waiting: deque[Held] = deque()
        self.running: list[Held] = []
        self.seen: dict[str, int] = {}
        self.beats = 0
        self.most_waiting = 0

    @property
    def sequences(self) -> int:
        """Sequences that run."""
        return sum(held.sequences for held in self.running)

    @property
    def credits(self) -> Credits:
        """Room that nothing in it has asked for."""
        held = [*self.running, *self.waiting]
        return Credits(
            free_sequences=max(0, SEQUENCES - sum(each.sequences for each in held)),
            free_kv_tokens=max(0, self.kv_tokens - sum(each.kv_tokens for each in held)),
        )

    def take(self, record: DispatchRecord, now_s: float) -> None:
        """A dispatch has come."""
        self.seen[record.sender] = record.seq
        body = msgspec.json.decode(record.body)
        choices, tokens = body.get("n", 1), body["max_tokens"]
        prompt_tokens = len(body["messages"][0]["content"]) // 4 + 16
        self.waiting.append(Held(record, choices, prompt_tokens + choices * tokens, tokens))
        self._start(now_s)
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    def end(self, now_s: float) -> list[DispatchRecord]:
        """What has ended by now."""
        ended = [held.record for held in self.running if held.end_s <= now_s]
        self.running = [held for held in self.running if held.end_s > now_s]
        self._start(now_s)
        return ended

    def _start(self, now_s: float) -> None:
        while self.waiting:
            held = self.waiting[0]
            kv_tokens = held.kv_tokens + sum(each.kv_tokens for each in self.running)
            if self.running and (self.sequences + held.sequences > SEQUENCES or kv_tokens > self.kv_tokens):
                return
            held.end_s = now_s + STEP_S * held.answer_tokens
            self.running.append(self.waiting.popleft())


class SharedWorkers:
    """The world.

    Args:
        tenants: who sends what.
        shards: schedulers; `workers`: what they share, each with so many `kv_tokens`.
        deadline_s: of every request.

    Attributes:
        cost: weighted tokens that each tenant was served, of requests that have ended.
        longest_wait_s: for each shard, how long at most nothing of it went out while something waited there.
        longest_stay_s: for each class, how long at most a request waited until it went out or was ended.
    """

    def __init__(
        self,
        tenants: list[Tenant],
        *,
        shards: int,
        workers: int = 2,
        kv_tokens: int = KV_TOKENS,
        deadline_s: float = 86_400.0,
    ) -> None:
        self.tenants = {tenant.name: replace(tenant, sent=Counter()) for tenant in tenants}
        deadline_ms = round(1000 * deadline_s)
        used = {LANE, *(tenant.latency_class for tenant in tenants)}
        classes = {
            name: ClassPolicy(
                priority=LANES[name],
                deadline_ms=deadline_ms,
                queue_limit=10_000,
                e2e_ms=3_600_000,
                yields=name == "bulk",
            )
            for name in sorted(used)
        }
        policy = Policy(
            model=MODEL,
            classes=classes,
            stable=DEPLOYMENT,
            longest_deadline_ms=deadline_ms,
            shards=shards,
            tenants={tenant.name: TenantPolicy(weight=tenant.weight) for tenant in tenants},
        )
        identities = [Identity(process="p", sender=f"run.{shard}.1", shard=shard) for shard in range(shards)]
        self.schedulers = [Scheduler(policy, identity, replies=REPLIES) for identity in identities]
        self.workers = [SharedWorker(slot, kv_tokens) for slot in range(workers)]
        self.now_s = 0.0
        self.cost: Counter[str] = Counter()
        self.busy_s = 0.0
        self.held_kv_tokens_s = 0.0
        self.longest_wait_s = [0.0] * shards
        self.longest_stay_s = dict.fromkeys(sorted(used), 0.0)
        self._waits_from_s = [0.0] * shards
        self._came_s: dict[Address, float] = {}
        self._reported_s = 0.0
        self._offsets: Counter[int] = Counter()

    def run(self, seconds: float) -> Counter[str]:
        """Let time pass; what each tenant was served meanwhile, in weighted tokens."""
        before = Counter(self.cost)
        for _ in range(round(seconds / BEAT_S)):
            self.now_s += BEAT_S
            for shard in range(len(self.schedulers)):
                self._send(shard)
            if self.now_s >= self._reported_s + REPORT_S:
                self._report()
            for worker in self.workers:
                self._beat(worker)
            self._watch()
        self.cost = +self.cost
        return self.cost - before

    def occupied_ratio(self) -> float:
        """Share of the workers' sequences that were in use, on average."""
        return self.busy_s / (self.now_s * SEQUENCES * len(self.workers))

    def held_kv_ratio(self) -> float:
        """Share of the workers' KV tokens that requests held, on average."""
        return self.held_kv_tokens_s / (self.now_s * sum(worker.kv_tokens for worker in self.workers))

    def most_waiting(self) -> int:
        """The most requests that ever waited inside a worker: beyond its credit."""
        return max(worker.most_waiting for worker in self.workers)

    def _report(self) -> None:
        self._reported_s = self.now_s
        now_s = T0_S + self.now_s
        for shard, teller in enumerate(self.schedulers):
            figures = teller.lane_figures(now_s=now_s)
            report = LaneReport(processor="p", model=MODEL, shard=shard, at_ms=int(now_s * 1000), lanes=figures)
            for scheduler in self.schedulers:
                scheduler.on_lanes(report, now_s=now_s)

    def _watch(self) -> None:
        for shard, scheduler in enumerate(self.schedulers):
            if not scheduler.queued:
                self._waits_from_s[shard] = self.now_s
            waited_s = self.now_s - self._waits_from_s[shard]
            self.longest_wait_s[shard] = max(self.longest_wait_s[shard], waited_s)

    def _send(self, shard: int) -> None:
        scheduler = self.schedulers[shard]
        for tenant in self.tenants.values():
            room = WAITING - scheduler.lanes[tenant.latency_class].backlog(tenant.name)
            due = tenant.due(shard, len(self.schedulers), self.now_s)
            tenant.sent[shard] += max(0, due - room)
            for _ in range(min(due, room)):
                tenant.sent[shard] += 1
                arrival = self._arrival(tenant, shard)
                self._came_s[arrival.at] = self.now_s
                self._do(scheduler.on_request(arrival, tenant.latency_class, now_s=T0_S + self.now_s))

    def _arrival(self, tenant: Tenant, shard: int) -> Arrival:
        self._offsets[shard] += 1
        text = "x" * (4 * (tenant.prompt_tokens - 16))
        messages = [{"role": "user", "content": text}]
        body = a_body(messages=messages, max_tokens=tenant.answer_tokens, n=tenant.choices)
        return Arrival(
            at=Address(names.Lane(MODEL, tenant.latency_class).topic, shard, self._offsets[shard]),
            timestamp_ms=T0_MS + int(self.now_s * 1000),
            request=a_request(f"r{shard}-{self._offsets[shard]}", tenant=tenant.name, body=body),
            headers=[],
        )

    def _beat(self, worker: SharedWorker) -> None:
        ended = worker.end(self.now_s)
        worker.beats += 1
        held = sum(each.kv_tokens for each in worker.running)
        self.busy_s += BEAT_S * worker.sequences
        self.held_kv_tokens_s += BEAT_S * held
        heartbeat = a_heartbeat(
            f"w{worker.slot}",
            seq=worker.beats,
            at_ms=T0_MS + int(self.now_s * 1000),
            running=worker.sequences,
            waiting=sum(each.sequences for each in worker.waiting),
            slots=(),
            credits=worker.credits,
            limits=Limits(
                max_sequences=SEQUENCES, max_kv_tokens=worker.kv_tokens, max_batch_tokens=8192, max_context_tokens=8192
            ),
            finished=[self._finished(record) for record in ended],
            samples=[
                StepSample(duration_us=int(STEP_S * 1e6), decoding=worker.sequences, kv_tokens=held, prefill_tokens=0)
            ],
        )
        slots = [Slot(partition=worker.slot, term=0, seen=dict(worker.seen))]
        heartbeat = msgspec.structs.replace(heartbeat, slots=slots)
        at_ms = T0_MS + int(self.now_s * 1000)
        for scheduler in self.schedulers:
            self._do(scheduler.on_heartbeat(heartbeat, at_ms=at_ms, now_s=T0_S + self.now_s))

    def _finished(self, record: DispatchRecord) -> Finished:
        tenant = self.tenants[record.tenant]
        completion_tokens = tenant.choices * tenant.answer_tokens
        self.cost[tenant.name] += int(PROMPT_WEIGHT * tenant.prompt_tokens + COMPLETION_WEIGHT * completion_tokens)
        return Finished(
            origin=record.origin,
            batch_id=record.batch.id,
            prompt_tokens=tenant.prompt_tokens,
            completion_tokens=completion_tokens,
            service_us=int(STEP_S * tenant.answer_tokens * 1e6),
            outcome="completed",
            tenant=record.tenant,
            latency_class=record.latency_class,
            backlog=record.backlog,
        )

    def _leave(self, at: Address) -> None:
        latency_class = names.Lane.of_topic(at.topic).latency_class
        stayed_s = self.now_s - self._came_s.pop(at)
        self.longest_stay_s[latency_class] = max(self.longest_stay_s[latency_class], stayed_s)

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Dispatch | Answer):
                self._leave(effect.settles)
            if isinstance(effect, Dispatch):
                _, shard, _ = names.split_origin(effect.record.origin)
                self._waits_from_s[shard] = self.now_s
                self.workers[effect.slot].take(effect.record, self.now_s)
