"""The product's cores in virtual time: one scheduler, workers with simulated engines, and a log between them.

What decides is the product's: `Scheduler`, `SlotOwner`, `WorkerCore`, `Heart`, `SimulatedSteps`. Modelled are
the broker, a log in which every record takes `hop_s`, and time. Nothing sleeps and nothing is drawn at random.
"""

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pipeline.engines.simulated.model import Step
from pipeline.settings import SimulatedDeployment
from pipeline.worker.effects import Abort, Acknowledge, AddRow, Fatal, Follow, Send, Submit, Unfollow
from pipeline.worker.parking import Parking
from processors.effects import Answer, Dispatch, Forward, PauseLane, ResumeLane
from processors.events import Address, Arrival, Handback
from processors.policy import Identity, Policy
from processors.scheduler import Scheduler
from tests.virtual_worker import START_S, VirtualWorker
from topics import names
from topics.codec import decode_response, decode_return
from topics.dispatches import Cancel
from topics.dispatches import Dispatch as DispatchRecord
from topics.fleet import Heartbeat
from topics.reader import Reader, Verdict
from topics.requests import Cancellation, Request
from topics.responses import Delta, Response, Started, Terminal, TerminalRecord

TICK_S: Final = 0.15
"""Workers commit, and look at what has waited, so often."""

Happening = Callable[[float], None]


class Arriving(NamedTuple):
    """A request, when it is produced and to which lane."""

    at_s: float
    latency_class: str
    request: Request


@dataclass(slots=True)
class Told:
    """What a reader of the log has of one request. Times are seconds since the beginning of the run."""

    produced_s: float = 0.0
    latency_class: str = ""
    reader: Reader = field(default_factory=Reader)
    first_s: float = math.nan
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    end: TerminalRecord | None = None
    end_s: float = math.nan

    @property
    def has_ended(self) -> bool:
        """Whether its terminal record was read."""
        return self.end is not None

    def feed(self, record: Response, now_s: float) -> None:
        """The next record of the log."""
        verdict = self.reader.feed(record)
        if verdict is Verdict.IGNORED:
            return
        if verdict is Verdict.RESTARTED:
            self.text, self.token_ids = "", []
        if isinstance(record, Started):
            self.modes.append(record.mode)
        elif isinstance(record, Delta):
            self.text += record.text
            self.token_ids += record.token_ids
            self.first_s = now_s if math.isnan(self.first_s) else self.first_s
        elif isinstance(record, Terminal):
            self.end, self.end_s = record, now_s


class VirtualMill:
    """Runs until nothing happens any more.

    Args:
        policy: of the scheduler; its stable deployment is served.
        engine: of every worker.
        workers: how many; each owns one slot.
        hop_s: from the writing of a record to its reading.
        parks: whether workers offer what could be parked.
        keeps: whether answers are kept when they have ended.
    """

    def __init__(
        self,
        policy: Policy,
        engine: SimulatedDeployment,
        *,
        workers: int = 1,
        hop_s: float = 0.003,
        parks: bool = True,
        keeps: bool = True,
    ) -> None:
        self.policy = policy
        self.now_s = 0.0
        self.told: dict[str, Told] = {}
        self.outcomes: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.hops: Counter[int] = Counter()
        self.returned: Counter[str] = Counter()
        self.ended = 0
        identity = Identity(process="p", sender="virtual")
        self.scheduler = Scheduler(policy, identity, replies={names.RESPONSES: 1})
        serial = itertools.count()
        self.workers = [
            VirtualWorker(number, policy.model, engine, lambda: f"a{next(serial)}", policy.longest_deadline_ms / 1000)
            for number in range(workers)
        ]
        for worker in self.workers:
            worker.parks = parks
        self._hop_s = hop_s
        self._keeps = keeps
        self._happenings: list[tuple[float, int, Happening]] = []
        self._numbered = 0
        self._offsets: Counter[str] = Counter()
        self._blocked: dict[str, deque[Arrival]] = {}
        self._paused: set[str] = set()
        self._log: dict[str, list[Response]] = {}
        self._followers: dict[tuple[VirtualWorker, int], str] = {}
        self._returns = 0
        self._wake_s = math.inf

    # What the world does

    def run(self, arrivals: Iterator[Arriving], *, until_s: float = math.inf) -> None:
        """Let requests arrive, in order of time, until all have ended or `until_s` is over."""
        for worker in self.workers:
            if worker.told < 0:
                self._perform(worker, worker.core.on_engine_ready(self._us()))
                self._at(self.now_s, lambda now_s, w=worker: self._tick(w))  # type: ignore[misc]
        arriving = next(arrivals, None)
        while arriving is not None or self.open:
            next_s = self._happenings[0][0] if self._happenings else math.inf
            if arriving is not None and arriving.at_s <= next_s:
                self.now_s = max(self.now_s, arriving.at_s)
                self.produce(arriving)
                arriving = next(arrivals, None)
                continue
            if next_s > until_s:
                return
            self.now_s, _, happening = heapq.heappop(self._happenings)
            happening(self.now_s)

    def settle(self, for_s: float = 1.0) -> None:
        """Let acknowledgements and heartbeats arrive that are on their way."""
        until_s = self.now_s + for_s
        while self._happenings and self._happenings[0][0] <= until_s:
            self.now_s, _, happening = heapq.heappop(self._happenings)
            happening(self.now_s)

    @property
    def open(self) -> int:
        """Requests that have not ended."""
        return len(self.told) if not self._keeps else sum(self._offsets.values()) - self.ended

    def produce(self, arriving: Arriving) -> str:
        """A request is written into its lane: its origin."""
        topic = names.Lane(self.policy.model, arriving.latency_class).topic
        at = Address(topic, 0, self._offsets[topic])
        self._offsets[topic] += 1
        arrival = Arrival(at=at, timestamp_ms=self._ms(), request=arriving.request)
        self.told[at.origin] = Told(produced_s=self.now_s, latency_class=arriving.latency_class)
        self._later(lambda now_s: self._arrive(arriving.latency_class, arrival))
        return at.origin

    def cancel(self, request_id: str, *, tenant: str = "default") -> None:
        """Somebody wants a request to end."""
        cancellation = Cancellation(id=request_id, model=self.policy.model, tenant=tenant)
        self._later(lambda now_s: self._do(self.scheduler.on_cancel(cancellation, now_s=self._broker_s())))

    def at(self, at_s: float, what: Callable[[], None]) -> None:
        """Do something at a time."""
        self._at(at_s, lambda now_s: what())

    # The processor

    def _arrive(self, latency_class: str, arrival: Arrival) -> None:
        if latency_class in self._paused:
            self._blocked.setdefault(latency_class, deque()).append(arrival)
            return
        self._do(self.scheduler.on_request(arrival, latency_class, now_s=self._broker_s()))

    def _do(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Dispatch():
                    self.hops[effect.record.hop] += 1
                    self._into_slot(self.workers[effect.slot], effect.record)
                case Forward():
                    self._into_slot(self.workers[effect.slot], effect.record)
                case Answer():
                    for record in effect.records:
                        self._respond(record)
                case PauseLane():
                    self._paused.add(effect.latency_class)
                case ResumeLane():
                    self._resume_lane(effect.latency_class)
                case _:
                    self.rows[type(effect.row).__name__] += 1
        wake_at_s = self.scheduler.wake_at_s
        if wake_at_s is not None and wake_at_s - START_S < self._wake_s:
            self._wake_s = max(wake_at_s - START_S, self.now_s + 1e-3)
            self._at(self._wake_s, self._wake)

    def _wake(self, now_s: float) -> None:
        if now_s >= self._wake_s:
            self._wake_s = math.inf
            self._do(self.scheduler.on_wake(now_s=self._broker_s()))

    def _resume_lane(self, latency_class: str) -> None:
        self._paused.discard(latency_class)
        blocked = self._blocked.pop(latency_class, deque())
        for arrival in blocked:
            self._later(lambda now_s, a=arrival: self._arrive(latency_class, a))  # type: ignore[misc]

    # The log

    def _into_slot(self, worker: VirtualWorker, record: DispatchRecord | Cancel) -> None:
        offset, at_ms = worker.end, self._ms()
        worker.end += 1

        def read(now_s: float) -> None:
            taken = worker.slot.on_record(record, offset=offset, at_ms=at_ms)
            if taken is not None:
                parking = Parking(worker.engine.load(), worker.engine.limits) if worker.parks else None
                self._perform(worker, worker.core.on_taken(worker.slot, [taken], self._us(), parking=parking))

        self._later(read)

    def _respond(self, record: Response) -> None:
        """A record of an answer is in the log, and read there a hop later."""
        if self.scheduler.sharing.cache.wants(record.id.encode()):
            self.scheduler.sharing.on_response(record, now_s=self._broker_s())
        told = self.told.get(record.origin)
        if told is None or told.has_ended:
            return
        told.feed(record, self.now_s)
        if told.end is not None:
            self.ended += 1
            self.outcomes[str(told.end.__struct_config__.tag)] += 1
            self._log.pop(record.origin, None)
            if not self._keeps:
                del self.told[record.origin]
        else:
            self._log.setdefault(record.origin, []).append(record)
        for (worker, serial), origin in list(self._followers.items()):
            if origin == record.origin:
                self._feed(worker, serial, record)

    def _feed(self, worker: VirtualWorker, serial: int, record: Response) -> None:
        self._later(
            lambda now_s: self._perform(
                worker, worker.core.on_log([(serial, record, round(self._broker_s() * 1000))], self._us())
            )
        )

    # The workers

    def _perform(self, worker: VirtualWorker, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(worker, effect)
                case Submit():
                    worker.engine.submit(effect.request, now_s=self.now_s)
                case Abort():
                    worker.engine.abort(effect.key)
                case Acknowledge():
                    effect.slot.tracker.finish(effect.offset)
                case AddRow():
                    self.rows[type(effect.row).__name__] += 1
                case Follow():
                    self._follow(worker, effect)
                case Unfollow():
                    self._followers.pop((worker, effect.serial), None)
                case _:
                    assert not isinstance(effect, Fatal), effect.reason
        self._step(worker)
        self._beat_soon(worker)
        wake_at_us = worker.core.wake_at_us
        if wake_at_us is not None and wake_at_us / 1e6 - START_S < worker.wake_at_s:
            worker.wake_at_s = max(wake_at_us / 1e6 - START_S, self.now_s)
            self._at(worker.wake_at_s, lambda now_s: self._wake_worker(worker, now_s))

    def _send(self, worker: VirtualWorker, send: Send) -> None:
        if send.topic == names.RESPONSES:
            self._respond(decode_response(send.value))
        else:
            assert send.topic == names.returns_topic(self.policy.model)
            self._returns += 1
            record = decode_return(send.value)
            self.returned[record.reason] += 1
            handback = Handback(at=Address(send.topic, 0, self._returns), record=record)
            self._later(lambda now_s: self._do(self.scheduler.on_return(handback, now_s=self._broker_s())))
        if send.is_last:
            self._later(lambda now_s: self._perform(worker, worker.core.on_delivered([send.ref], self._us())))

    def _follow(self, worker: VirtualWorker, follow: Follow) -> None:
        self._followers[worker, follow.serial] = follow.request.origin
        for record in self._log.get(follow.request.origin, ()):
            self._feed(worker, follow.serial, record)

    def _step(self, worker: VirtualWorker) -> None:
        if worker.is_stepping:
            return
        step = worker.engine.next_step(self.now_s)
        if step is not None:
            worker.is_stepping = True
            self._at(self.now_s + step.cost_ns / 1e9, lambda now_s: self._stepped(worker, step))

    def _stepped(self, worker: VirtualWorker, step: Step) -> None:
        worker.is_stepping = False
        self._perform(worker, worker.core.on_outputs(worker.engine.finish(step), self._us()))

    def _tick(self, worker: VirtualWorker) -> None:
        worker.slot.tracker.commit()
        self._perform(worker, worker.core.on_committed(self._us()) + worker.core.on_tick(self._us()))
        self._beat_soon(worker, is_due=self.now_s >= worker.told_s + 0.2)
        self._at(self.now_s + TICK_S, lambda now_s: self._tick(worker))

    def _wake_worker(self, worker: VirtualWorker, at_s: float) -> None:
        if at_s != worker.wake_at_s:  # it was to be woken earlier, and has been
            return
        worker.wake_at_s = math.inf
        self._perform(worker, worker.core.on_wake(self._us()))

    def _beat_soon(self, worker: VirtualWorker, *, is_due: bool = False) -> None:
        if worker.told == worker.core.changes and not is_due:
            return
        worker.told = worker.core.changes
        due_s = worker.heart.due_at_s(has_changed=True)
        self._at(max(self.now_s, due_s), lambda now_s: self._beat(worker))

    def _beat(self, worker: VirtualWorker) -> None:
        if worker.heart.due_at_s(has_changed=True) > self.now_s:
            return
        worker.told, worker.told_s = worker.core.changes, self.now_s
        beat = worker.heart.beat(worker.condition(), now_s=self.now_s, at_ms=self._ms())
        at_ms = self._ms()
        self._later(lambda now_s: self._hear(beat, at_ms))

    def _hear(self, beat: Heartbeat, at_ms: int) -> None:
        self._do(self.scheduler.on_heartbeat(beat, at_ms=at_ms, now_s=self._broker_s()))

    # Time

    def _later(self, happening: Happening) -> None:
        self._at(self.now_s + self._hop_s, happening)

    def _at(self, at_s: float, happening: Happening) -> None:
        self._numbered += 1
        heapq.heappush(self._happenings, (at_s, self._numbered, happening))

    def _broker_s(self) -> float:
        return START_S + self.now_s

    def _ms(self) -> int:
        return int((START_S + self.now_s) * 1000)

    def _us(self) -> int:
        return int((START_S + self.now_s) * 1e6)
