"""Laws of the scheduler, over arbitrary interleavings of arrivals, heartbeats, cancellations, returns and time."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from processors.effects import Answer, Dispatch, Effect, Forward, PauseLane, ResumeLane
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    SENDER,
    T0_MS,
    T0_S,
    a_body,
    a_cancellation,
    a_finished,
    a_handback,
    a_heartbeat,
    a_request,
    a_scheduler,
    an_arrival,
)

CLASSES = ("realtime", "interactive", "bulk")
LIMIT = 5

_arrivals = st.tuples(
    st.just("arrive"), st.sampled_from(CLASSES), st.integers(0, 9), st.integers(1, 5000), st.sampled_from([1, 100, 900])
)
_beats = st.tuples(
    st.just("beat"), st.sampled_from(["w1", "w2"]), st.integers(0, 4), st.integers(0, 3000), st.booleans()
)
_cancels = st.tuples(st.just("cancel"), st.integers(0, 9))
_returns = st.tuples(st.just("return"), st.integers(0, 50))
_finishes = st.tuples(st.just("finish"), st.integers(0, 50))
_times = st.tuples(st.just("pass"), st.integers(1, 4000))
EVENTS = st.lists(st.one_of(_arrivals, _arrivals, _beats, _beats, _cancels, _returns, _finishes, _times), max_size=60)

SLOTS = {"w1": (0, 1), "w2": (2,)}


def tenant_of(number: int) -> str:
    """Of a request: it never changes."""
    return ("acme", "globex", "initech")[number % 3]


@dataclass
class World:
    """Drives a scheduler by a list of events and keeps what it did."""

    scheduler: Scheduler = field(default_factory=lambda: a_scheduler(limit=LIMIT))
    now_ms: int = 0
    offset: int = 0
    beats: int = 0
    inputs: list[str] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    steps: list[tuple[Any, list[Effect]]] = field(default_factory=list)

    @property
    def now_s(self) -> float:
        return T0_S + self.now_ms / 1000

    def dispatched(self) -> list[Dispatch]:
        return [effect for effect in self.effects if isinstance(effect, Dispatch)]

    def generated(self) -> list[Dispatch]:
        """Dispatches that take room; the others get the answer of one of these."""
        return [effect for effect in self.dispatched() if effect.record.primary is None]

    @property
    def waiting(self) -> int:
        return self.scheduler.queued + self.scheduler.sharing.held

    def feed(self, event: Any) -> list[Effect]:
        effects: list[Effect] = getattr(self, f"_{event[0]}")(*event[1:])
        self.effects += effects
        self.steps.append((event, effects))
        return effects

    def run(self, events: list[Any]) -> "World":
        for event in events:
            self.feed(event)
        return self

    def _arrive(self, latency_class: str, number: int, deadline_ms: int, tokens: int) -> list[Effect]:
        body = a_body(max_tokens=tokens)
        request = a_request(f"r{number}", tenant=tenant_of(number), deadline_ms=deadline_ms, body=body)
        arrival = an_arrival(self.offset, request, latency_class=latency_class, timestamp_ms=T0_MS + self.now_ms)
        self.offset += 1
        self.inputs.append(arrival.at.origin)
        return self.scheduler.on_request(arrival, latency_class, now_s=self.now_s)

    def _beat(self, worker: str, free: int, kv: int, has_seen: bool) -> list[Effect]:
        self.beats += 1
        seqs = {e.slot: e.record.seq for e in self.generated()} if has_seen else {}
        base = a_heartbeat(worker, seq=self.beats, free=free, kv=kv, slots=SLOTS[worker])
        slots = [msgspec.structs.replace(s, seen={SENDER: seqs.get(s.partition, 0)}) for s in base.slots]
        heartbeat = msgspec.structs.replace(base, slots=slots)
        return self.scheduler.on_heartbeat(heartbeat, at_ms=T0_MS + self.now_ms, now_s=self.now_s)

    def _cancel(self, number: int) -> list[Effect]:
        return self.scheduler.on_cancel(a_cancellation(f"r{number}", tenant=tenant_of(number)), now_s=self.now_s)

    def _return(self, index: int) -> list[Effect]:
        known = self.dispatched()
        if not known:
            return []
        handback = a_handback(known[index % len(known)].record, offset=self.offset)
        self.offset += 1
        self.inputs.append(handback.at.origin)
        return self.scheduler.on_return(handback, now_s=self.now_s)

    def _finish(self, index: int) -> list[Effect]:
        known = self.dispatched()
        return self.scheduler.on_completion(a_finished(known[index % len(known)].record.origin)) if known else []

    def _pass(self, ms: int) -> list[Effect]:
        self.now_ms += ms
        return self.scheduler.on_wake(now_s=self.now_s)


LAWS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LAWS
@given(EVENTS)
def test_every_input_is_dispatched_answered_or_waiting_and_never_two_of_them(events: list[Any]) -> None:
    world = World().run(events)
    settled = Counter(e.settles.origin for e in world.effects if isinstance(e, Dispatch | Answer))
    assert set(settled.values()) <= {1}
    assert set(settled) <= set(world.inputs)
    assert world.waiting == len(world.inputs) - len(settled)


ASKED = ("arrive", "realtime", 0, 1, 1)


@LAWS
@given(EVENTS)
@example([*[ASKED] * 5, ("beat", "w1", 1, 18, False), ("return", 0), ASKED, ("finish", 0)])
def test_nothing_waits_beyond_its_deadline(events: list[Any]) -> None:
    world = World().run(events)
    world.feed(("pass", 10_000))
    assert world.waiting == 0
    assert world.scheduler.wake_at_s is None


@LAWS
@given(EVENTS)
def test_a_scheduler_that_is_woken_when_it_asks_has_nothing_overdue(events: list[Any]) -> None:
    world = World().run(events)
    wake_at_s = world.scheduler.wake_at_s
    assert wake_at_s is None or wake_at_s > world.now_s


@LAWS
@given(EVENTS)
def test_no_worker_gets_more_than_its_credit(events: list[Any]) -> None:
    world = World()
    credit = {worker: (0, 0) for worker in SLOTS}
    for event in events:
        if event[0] == "beat":
            credit[event[1]] = event[2:4]
        for effect in world.feed(event):
            if isinstance(effect, Dispatch) and effect.record.primary is None:
                worker = next(name for name, slots in SLOTS.items() if effect.slot in slots)
                body = msgspec.json.decode(effect.record.body)
                sequences, tokens = credit[worker]
                credit[worker] = (sequences - 1, tokens - body["max_tokens"])
                assert min(credit[worker]) >= 0


@LAWS
@given(EVENTS)
def test_within_a_batch_classes_go_by_priority_and_requests_of_a_tenant_by_what_is_due(events: list[Any]) -> None:
    priorities: dict[str, list[int]] = {}
    dues: dict[tuple[str, str, str], list[int]] = {}
    for effect in World().run(events).generated():
        record = effect.record
        priorities.setdefault(record.batch.id, []).append(record.priority)
        dues.setdefault((record.batch.id, record.tenant, record.latency_class), []).append(record.deadline_at_ms)
    assert all(batch == sorted(batch) for batch in priorities.values())
    assert all(due == sorted(due) for due in dues.values())


@LAWS
@given(EVENTS)
def test_batches_are_whole(events: list[Any]) -> None:
    batches: dict[str, list[tuple[int, int]]] = {}
    for effect in World().run(events).generated():
        part = effect.record.batch
        batches.setdefault(part.id, []).append((part.index, part.size))
    assert all(parts == [(i, len(parts)) for i in range(len(parts))] for parts in batches.values())


@LAWS
@given(EVENTS)
def test_numbers_of_a_slot_have_no_gaps(events: list[Any]) -> None:
    seqs: dict[int, list[int]] = {}
    for effect in World().run(events).generated():
        seqs.setdefault(effect.slot, []).append(effect.record.seq)
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in seqs.values())


@LAWS
@given(EVENTS)
def test_the_same_events_give_the_same_effects(events: list[Any]) -> None:
    once, again = World().run(events).effects, World().run(events).effects
    assert msgspec.json.encode(once) == msgspec.json.encode(again)


@LAWS
@given(EVENTS)
def test_a_lane_is_paused_exactly_while_it_is_full(events: list[Any]) -> None:
    world = World()
    paused: set[str] = set()
    for event in events:
        for effect in world.feed(event):
            if isinstance(effect, PauseLane):
                assert effect.latency_class not in paused
                paused.add(effect.latency_class)
            if isinstance(effect, ResumeLane):
                paused.remove(effect.latency_class)
        lanes = world.scheduler._queues.lanes
        assert paused == {name for name, lane in lanes.items() if len(lane) >= LIMIT}


@LAWS
@given(EVENTS)
def test_memory_is_bounded_by_what_waits_and_what_was_placed(events: list[Any]) -> None:
    world = World().run(events)
    for lane in world.scheduler._queues.lanes.values():
        assert lane.held <= 2 * len(lane) + 64
    assert world.scheduler.placed <= len({effect.record.origin for effect in world.dispatched()})


@LAWS
@given(EVENTS)
def test_what_has_ended_everywhere_leaves_nothing_behind(events: list[Any]) -> None:
    world = World().run(events)
    world.feed(("pass", 10_000))
    for effect in world.dispatched():
        world.scheduler.on_completion(a_finished(effect.record.origin))
    assert (world.waiting, world.scheduler.placed) == (0, 0)


@LAWS
@given(EVENTS)
def test_cancellations_are_forwarded_to_slots_that_have_the_request(events: list[Any]) -> None:
    places: set[tuple[str, int]] = set()
    for effect in World().run(events).effects:
        if isinstance(effect, Dispatch):
            places.add((effect.record.origin, effect.slot))
        if isinstance(effect, Forward):
            assert (str(effect.record.origin), effect.slot) in places
