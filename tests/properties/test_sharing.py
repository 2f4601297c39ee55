"""Laws of sharing, over interleavings of duplicates, identical requests, cancellations, ends and returns."""

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.dedupe.runs import Runs
from processors.effects import Answer, Dispatch, Effect
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    T0_MS,
    T0_S,
    a_body,
    a_cancellation,
    a_finished,
    a_handback,
    a_request,
    a_scheduler,
    an_arrival,
    beat,
)

OUTCOMES = ("completed", "failed", "cancelled", "rejected")
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, 5), st.integers(0, 2), st.integers(1, 5000)),
        st.tuples(st.just("arrive"), st.integers(0, 5), st.just(0), st.just(4000)),
        st.tuples(st.just("beat"), st.integers(0, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("finish"), st.integers(0, 30), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("return"), st.integers(0, 30), st.sampled_from(("drained", "detached"))),
        st.tuples(st.just("pass"), st.integers(1, 3000)),
    ),
    max_size=60,
)


class World:
    """Workers that end or hand back each dispatch at most once."""

    def __init__(self) -> None:
        self.scheduler: Scheduler = a_scheduler(limit=50, dedupe_window_s=5)
        self.now_ms = self.beats = self.offset = 0
        self.inputs: list[str] = []
        self.settled: Counter[str] = Counter()
        self.open: list[Dispatch] = []
        self.primaries: set[str] = set()

    @property
    def now_s(self) -> float:
        return T0_S + self.now_ms / 1000

    def run(self, events: list[Any]) -> "World":
        for event in events:
            for effect in getattr(self, event[0])(*event[1:]):
                self.keep(effect)
        return self

    def keep(self, effect: Effect) -> None:
        if isinstance(effect, Dispatch | Answer):
            self.settled[effect.settles.origin] += 1
        if isinstance(effect, Dispatch):
            self.open.append(effect)
            if effect.record.primary is None:
                self.primaries.add(effect.record.origin)
            else:
                assert effect.record.primary.origin in self.primaries
                assert effect.record.primary.origin != effect.record.origin

    def arrive(self, number: int, body: int, deadline_ms: int) -> list[Effect]:
        request = a_request(f"r{number}", deadline_ms=deadline_ms, body=a_body(temperature=0, seed=body))
        arrival = an_arrival(self.offset, request, timestamp_ms=T0_MS + self.now_ms)
        self.offset += 1
        self.inputs.append(arrival.at.origin)
        return self.scheduler.on_request(arrival, "interactive", now_s=self.now_s)

    def beat(self, free: int) -> list[Effect]:
        self.beats += 1
        return beat(self.scheduler, seq=self.beats, free=free, now_s=self.now_s)

    def cancel(self, number: int) -> list[Effect]:
        return self.scheduler.on_cancel(a_cancellation(f"r{number}"), now_s=self.now_s)

    def finish(self, index: int, outcome: str) -> list[Effect]:
        if not self.open:
            return []
        done = self.open.pop(index % len(self.open))
        finished = msgspec.structs.replace(a_finished(done.record.origin), outcome=outcome)
        return self.scheduler.on_completion(finished)

    def __getattr__(self, name: str) -> Any:
        if name == "return":
            return self.hand_back
        raise AttributeError(name)

    def hand_back(self, index: int, reason: str) -> list[Effect]:
        if not self.open:
            return []
        record = self.open.pop(index % len(self.open)).record
        handback = a_handback(record, offset=self.offset)
        self.offset += 1
        self.inputs.append(handback.at.origin)
        why = "drained" if record.primary is None else reason
        returned = msgspec.structs.replace(handback.record, reason=why)
        return self.scheduler.on_return(msgspec.structs.replace(handback, record=returned), now_s=self.now_s)

    def pass_(self, ms: int) -> list[Effect]:
        self.now_ms += ms
        return self.scheduler.on_wake(now_s=self.now_s)


setattr(World, "pass", World.pass_)
LAWS = settings(max_examples=80, deadline=None)


@LAWS
@given(EVENTS)
def test_each_sender_is_settled_once_or_still_waits(events: list[Any]) -> None:
    world = World().run(events)
    assert set(world.settled.values()) <= {1}
    assert len(world.inputs) - len(world.settled) == world.scheduler.queued + world.scheduler.sharing.held


@LAWS
@given(EVENTS)
def test_nobody_is_held_for_ever(events: list[Any]) -> None:
    world = World().run([*events, ("pass", 6000), ("pass", 1)])
    assert (world.scheduler.queued, world.scheduler.sharing.held) == (0, 0)
    assert len(world.settled) == len(world.inputs)


@LAWS
@given(st.lists(st.integers(0, 40), max_size=200), st.integers(1, 8))
def test_what_is_remembered_is_bounded(numbers: list[int], limit: int) -> None:
    runs = Runs(window_s=100, limit=limit)
    scheduler = a_scheduler()
    for offset, number in enumerate(numbers):
        arrival = an_arrival(offset, a_request(f"r{number}"))
        ticket = _ticket(scheduler, arrival)
        run = runs.begin(ticket, scope=None, deployment="m@v1", now_s=T0_S)
        runs.dispatched(run, deployment="m@v1", slot=0, now_ms=T0_MS)
        assert len(runs) <= limit
        assert runs.in_flight <= limit


def _ticket(scheduler: Scheduler, arrival: Any) -> Any:
    from processors.admission.validation import admit
    from tests.unit.processors.builders import DEPLOYMENT, REPLIES, a_policy

    return admit(arrival, "interactive", policy=a_policy(), deployment=DEPLOYMENT, replies=REPLIES, now_us=1)
