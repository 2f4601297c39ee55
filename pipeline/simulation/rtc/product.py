"""Plays with the product's scheduler: records in, effects out, heartbeats back, as on a broker."""

from typing import Final

import msgspec

from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.rtc.pool import MODEL, START_S, heartbeat_of, policy_for, warm_up
from pipeline.simulation.rtc.world import Move, Sent, Told, Traffic
from processors.batching.modes import ControllerFactory, controller_for
from processors.effects import Answer, Dispatch, Effect
from processors.events import Address, Arrival
from processors.policy import Identity, Policy
from processors.scheduler import Scheduler
from topics import names
from topics.bodies import COMPLETIONS
from topics.errors import RateLimited
from topics.fleet import Finished
from topics.requests import Request
from topics.responses import Rejected

_CHARS_PER_TOKEN: Final = 4
_TICK_S: Final = 1e-9
_BODIES_KEPT: Final = 1024


class SchedulerPlayer:
    """`pipeline.simulation.rtc.world.Player` of `processors.scheduler.Scheduler`, one for each shard.

    Args:
        traffic, engine, workers, hop_s: what it will play with.
        shards: schedulers that share the workers, and hear of each other only through the workers' heartbeats.
        knows_tokens: whether prompts show how long they are, and workers tell how long they were.
        learns: whether workers time their batches; without that only the warm-up is known.
        policy: classes and tenants; those that the traffic asks for unless given.
        controllers: other ways of batching than the product's.

    Attributes:
        over_limit: how many were refused because they were over a limit of their tenant.
    """

    def __init__(
        self,
        traffic: Traffic,
        engine: Engine,
        *,
        workers: int,
        hop_s: float,
        shards: int = 1,
        knows_tokens: bool = True,
        learns: bool = True,
        policy: Policy | None = None,
        controllers: ControllerFactory = controller_for,
    ) -> None:
        self._traffic = traffic
        self._engine = engine
        self._knows_tokens = knows_tokens
        self._learns = learns
        self._topics = {name: names.Lane(MODEL, name).topic for name in traffic.slo_s}
        self._bodies: dict[int, msgspec.Raw] = {}
        self._backlogs: dict[int, int] = {}
        self._seqs = [0] * workers
        self.over_limit = 0
        self._seen: list[list[dict[str, int]]] = [[{}] for _ in range(workers)]
        policy = policy or policy_for(traffic, hop_s=hop_s, shards=shards)
        identities = [Identity(process="simulation", sender=f"shard{shard}", shard=shard) for shard in range(shards)]
        self._schedulers = [
            Scheduler(policy, identity, replies={names.RESPONSES: 1}, controllers=controllers)
            for identity in identities
        ]
        for worker in range(workers):
            self._hear(Told(worker, 0.0, (), 0, 0, 0), 0.0, is_first=True)

    def arrive(self, index: int, *, now_s: float) -> Move:
        latency_class, shard = self._traffic.classes[index], self._traffic.shard(index)
        arrival = Arrival(
            at=Address(self._topics[latency_class], shard, index),
            timestamp_ms=int(1000 * (START_S + now_s)),
            request=Request(
                body=self._body(self._traffic.tokens[index]),
                endpoint=COMPLETIONS,
                tenant=self._traffic.tenant(index),
            ),
        )
        return self._move(self._schedulers[shard].on_request(arrival, latency_class, now_s=START_S + now_s))

    def hear(self, told: Told, *, now_s: float) -> Move:
        return self._move(self._hear(told, now_s))

    def wake(self, *, now_s: float) -> Move:
        effects: list[Effect] = []
        for scheduler in self._schedulers:
            if scheduler.wake_at_s is not None and scheduler.wake_at_s <= START_S + now_s + _TICK_S:
                effects += scheduler.on_wake(now_s=START_S + now_s)
        return self._move(effects)

    def _hear(self, told: Told, now_s: float, *, is_first: bool = False) -> list[Effect]:
        self._seqs[told.worker] += 1
        heartbeat = heartbeat_of(
            told,
            self._engine,
            self._traffic,
            seq=self._seqs[told.worker],
            seen=self._seen[told.worker][told.reached],
        )
        finished = [self._finished(index, sent) for sent in told.ended for index in sent.requests]
        batches = warm_up(self._engine, self._traffic) if is_first else heartbeat.batches if self._learns else []
        if not self._knows_tokens:
            batches = [msgspec.structs.replace(timing, tokens=0) for timing in batches]
        heartbeat = msgspec.structs.replace(heartbeat, finished=finished, batches=batches)
        at_ms = int(1000 * (START_S + told.at_s))
        effects: list[Effect] = []
        for scheduler in self._schedulers:
            effects += scheduler.on_heartbeat(heartbeat, at_ms=at_ms, now_s=START_S + now_s)
        return effects

    def _finished(self, index: int, sent: Sent) -> Finished:
        latency_class = self._traffic.classes[index]
        return Finished(
            origin=names.origin_of(self._topics[latency_class], self._traffic.shard(index), index),
            batch_id=sent.name,
            prompt_tokens=0,
            completion_tokens=0,
            service_us=int(1e6 * sent.service_s),
            outcome="completed",
            tenant=self._traffic.tenant(index),
            latency_class=latency_class,
            backlog=self._backlogs.pop(index, 0),
        )

    def _move(self, effects: list[Effect]) -> Move:
        sent: dict[str, Sent] = {}
        turned_away = []
        for effect in effects:
            if isinstance(effect, Dispatch):
                record = effect.record
                batch, seen = sent.get(record.batch.id), self._seen[effect.slot]
                if batch is None:
                    batch = sent[record.batch.id] = Sent(effect.slot, record.batch.id, [])
                    seen.append(dict(seen[-1]))
                batch.requests.append(effect.settles.offset)
                seen[-1][record.sender] = record.seq
                if record.backlog:
                    self._backlogs[effect.settles.offset] = record.backlog
            elif isinstance(effect, Answer):
                turned_away.append(effect.settles.offset)
                answer = effect.records[-1]
                if isinstance(answer, Rejected) and answer.error is not None:
                    self.over_limit += answer.error.code == RateLimited.code
        times_s = [scheduler.wake_at_s for scheduler in self._schedulers]
        wake_at_s = min((at_s for at_s in times_s if at_s is not None), default=None)
        return Move(list(sent.values()), turned_away, None if wake_at_s is None else wake_at_s - START_S)

    def _body(self, tokens: int) -> msgspec.Raw:
        shown = tokens if self._knows_tokens else 1
        body = self._bodies.get(shown)
        if body is None:
            prompt = "x" * (_CHARS_PER_TOKEN * max(1, shown))
            body = msgspec.Raw(msgspec.json.encode({"prompt": prompt, "max_tokens": 1}))
            if len(self._bodies) < _BODIES_KEPT:
                self._bodies[shown] = body
        return body
