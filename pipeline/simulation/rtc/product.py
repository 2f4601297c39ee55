"""Plays with the product's scheduler: records in, effects out, heartbeats back, as on a broker."""

from typing import Final

import msgspec

from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.rtc.pool import MODEL, START_S, heartbeat_of, policy_for, warm_up
from pipeline.simulation.rtc.world import Move, Sent, Told, Traffic
from processors.effects import Answer, Dispatch, Effect
from processors.events import Address, Arrival
from processors.policy import Identity
from processors.scheduler import Scheduler
from topics import names
from topics.bodies import COMPLETIONS
from topics.fleet import Finished
from topics.requests import Request

_SENDER: Final = "simulation"
_CHARS_PER_TOKEN: Final = 4


class SchedulerPlayer:
    """`pipeline.simulation.rtc.world.Player` of a `processors.scheduler.Scheduler`.

    Args:
        traffic, engine, workers, hop_s: what it will play with.
        knows_tokens: whether prompts show how long they are, and workers tell how long they were.
        learns: whether workers time their batches; without that only the warm-up is known.
    """

    def __init__(
        self,
        traffic: Traffic,
        engine: Engine,
        *,
        workers: int,
        hop_s: float,
        knows_tokens: bool = True,
        learns: bool = True,
    ) -> None:
        self._traffic = traffic
        self._engine = engine
        self._knows_tokens = knows_tokens
        self._learns = learns
        self._topics = {name: names.Lane(MODEL, name).topic for name in traffic.slo_s}
        self._bodies: dict[int, msgspec.Raw] = {}
        self._seqs = [0] * workers
        self._last_seq: list[list[int]] = [[0] for _ in range(workers)]
        self.scheduler = Scheduler(
            policy_for(traffic, hop_s=hop_s),
            Identity(process="simulation", sender=_SENDER),
            replies={names.RESPONSES: 1},
        )
        for worker in range(workers):
            self._hear(Told(worker, 0.0, (), 0, 0, 0), 0.0, is_first=True)

    def arrive(self, index: int, *, now_s: float) -> Move:
        latency_class = self._traffic.classes[index]
        arrival = Arrival(
            at=Address(self._topics[latency_class], 0, index),
            timestamp_ms=int(1000 * (START_S + now_s)),
            request=Request(body=self._body(self._traffic.tokens[index]), endpoint=COMPLETIONS),
        )
        return self._move(self.scheduler.on_request(arrival, latency_class, now_s=START_S + now_s))

    def hear(self, told: Told, *, now_s: float) -> Move:
        return self._move(self._hear(told, now_s))

    def wake(self, *, now_s: float) -> Move:
        return self._move(self.scheduler.on_wake(now_s=START_S + now_s))

    def _hear(self, told: Told, now_s: float, *, is_first: bool = False) -> list[Effect]:
        self._seqs[told.worker] += 1
        heartbeat = heartbeat_of(
            told,
            self._engine,
            self._traffic,
            seq=self._seqs[told.worker],
            seen={_SENDER: self._last_seq[told.worker][told.reached]},
        )
        finished = [self._finished(index, sent.name) for sent in told.ended for index in sent.requests]
        batches = warm_up(self._engine, self._traffic) if is_first else heartbeat.batches if self._learns else []
        if not self._knows_tokens:
            batches = [msgspec.structs.replace(timing, tokens=0) for timing in batches]
        heartbeat = msgspec.structs.replace(heartbeat, finished=finished, batches=batches)
        at_ms = int(1000 * (START_S + told.at_s))
        return self.scheduler.on_heartbeat(heartbeat, at_ms=at_ms, now_s=START_S + now_s)

    def _finished(self, index: int, batch_id: str) -> Finished:
        return Finished(
            origin=names.origin_of(self._topics[self._traffic.classes[index]], 0, index),
            batch_id=batch_id,
            prompt_tokens=0,
            completion_tokens=0,
            service_us=0,
            outcome="completed",
        )

    def _move(self, effects: list[Effect]) -> Move:
        sent: dict[str, Sent] = {}
        turned_away = []
        for effect in effects:
            if isinstance(effect, Dispatch):
                record = effect.record
                batch = sent.get(record.batch.id)
                if batch is None:
                    batch = sent[record.batch.id] = Sent(effect.slot, record.batch.id, [])
                    self._last_seq[effect.slot].append(0)
                batch.requests.append(effect.settles.offset)
                self._last_seq[effect.slot][-1] = record.seq
            elif isinstance(effect, Answer):
                turned_away.append(effect.settles.offset)
        wake_at_s = self.scheduler.wake_at_s
        return Move(list(sent.values()), turned_away, None if wake_at_s is None else wake_at_s - START_S)

    def _body(self, tokens: int) -> msgspec.Raw:
        shown = tokens if self._knows_tokens else 1
        body = self._bodies.get(shown)
        if body is None:
            prompt = "x" * (_CHARS_PER_TOKEN * max(1, shown))
            body = self._bodies[shown] = msgspec.Raw(msgspec.json.encode({"prompt": prompt, "max_tokens": 1}))
        return body
