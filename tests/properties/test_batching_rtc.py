"""Laws of run-to-completion batching, whatever happens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.batching.controller import Decision
from processors.queueing.ticket import Ticket
from tests.unit.batching.rtc_builders import HOP_S, T0_S, Pool, a_ticket

WORKERS: Final = ("w1", "w2")
MAX_SIZE, MAX_TOKENS = 8, 200


@dataclass(frozen=True)
class Come:
    latency_class: str
    due_in_s: float
    tokens: int
    tenant: str


@dataclass(frozen=True)
class End:
    worker: str
    factor: float


@dataclass(frozen=True)
class Pass:
    seconds: float


@dataclass
class History:
    """What came, what was decided, and when."""

    pool: Pool = field(default_factory=lambda: Pool(*WORKERS, max_size=MAX_SIZE, max_tokens=MAX_TOKENS))
    came: list[Ticket] = field(default_factory=list)
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    overtaken: list[tuple[Ticket, Ticket]] = field(default_factory=list)
    most_in_flight: int = 0


Event = Come | End | Pass
events = st.lists(
    st.one_of(
        st.builds(
            Come,
            latency_class=st.sampled_from(["realtime", "standard", "bulk"]),
            due_in_s=st.floats(0.0, 2.0),
            tokens=st.integers(0, 300),
            tenant=st.sampled_from("ab"),
        ),
        st.builds(End, worker=st.sampled_from(WORKERS), factor=st.floats(0.5, 4.0)),
        st.builds(Pass, seconds=st.floats(0.0, 0.2)),
    ),
    max_size=80,
)


def live(happens: list[Event], burst: Sequence[Come] = ()) -> History:
    """Let everything happen, after a burst that comes at once; decide after it and after each event."""
    history, now_s = History(), T0_S
    for number, together in enumerate(burst, len(happens)):
        come(history, together, number, now_s)
    decide(history, now_s)
    for number, event in enumerate(happens):
        match event:
            case Come():
                come(history, event, number, now_s)
            case End():
                if history.pool.sent.get(event.worker):
                    history.pool.finish(event.worker, now_s=now_s, factor=event.factor)
            case Pass():
                now_s += event.seconds
                for worker in WORKERS:
                    history.pool.beat(worker, now_s=now_s)
        decide(history, now_s)
    return history


def come(history: History, event: Come, number: int, now_s: float) -> None:
    ticket = a_ticket(
        number,
        now_s=now_s,
        due_in_s=event.due_in_s,
        latency_class=event.latency_class,
        tokens=event.tokens,
        tenant=event.tenant,
    )
    history.came.append(ticket)
    if ticket.may_be_shed and history.pool.controller.refuse(ticket, now_s=now_s) is not None:
        history.refused.add(ticket.id)
        ticket.is_waiting = False
    else:
        history.pool.queue(ticket, now_s=now_s)


def decide(history: History, now_s: float) -> None:
    decision = history.pool.decide(now_s)
    history.decisions.append((now_s, decision))
    in_flight = max(map(len, history.pool.sent.values()), default=0)
    history.most_in_flight = max(history.most_in_flight, in_flight)
    for batch in decision.batches:
        together = [part.ticket for part in batch.parts]
        for index, ticket in enumerate(together):
            behind = [other for other in history.came if other.is_waiting] + together[index:]
            history.overtaken += [(ticket, other) for other in behind if goes_before(other, ticket)]


def goes_before(one: Ticket, other: Ticket) -> bool:
    """Whether a request, of the same class and tenant, is due before another."""
    return (one.latency_class, one.tenant) == (other.latency_class, other.tenant) and one.due_at_ms < other.due_at_ms


@given(events)
def test_a_batch_never_exceeds_the_limits_of_its_engine(happens: list[Event]) -> None:
    batches = [batch for _, decision in live(happens).decisions for batch in decision.batches]

    assert all(1 <= len(batch.parts) <= min(batch.size_limit, MAX_SIZE) for batch in batches)
    assert all(
        len(batch.parts) == 1 or sum(part.ticket.demand.prompt_tokens for part in batch.parts) <= MAX_TOKENS
        for batch in batches
    )


@given(events)
def test_a_batch_is_expected_to_make_every_due_time_that_it_was_not_too_late_for(happens: list[Event]) -> None:
    for now_s, decision in live(happens).decisions:
        for batch in decision.batches:
            figures = batch.why.figures
            answered_s = now_s + figures["starts_in_s"] + figures["service_s"] + HOP_S
            for part in batch.parts:
                is_alone = figures["queued_requests"] == 1 and batch.why.reason == "worker_idle"
                in_time = answered_s <= part.ticket.due_at_ms / 1000 + 1e-6
                assert in_time or is_alone or not part.ticket.may_be_shed


@given(events)
def test_no_request_is_forgotten_or_decided_twice(happens: list[Event]) -> None:
    history = live(happens)
    decided = [part.ticket.id for _, d in history.decisions for batch in d.batches for part in batch.parts]
    decided += [dropped.ticket.id for _, d in history.decisions for dropped in d.dropped]
    decided += history.refused
    waiting = [ticket.id for ticket in history.came if ticket.is_waiting]

    assert sorted(decided + waiting) == sorted(ticket.id for ticket in history.came)
    assert len(history.pool.queues) == len(waiting)


bursts = st.lists(
    st.builds(
        Come,
        latency_class=st.sampled_from(["standard", "bulk"]),
        due_in_s=st.floats(0.05, 2.0),
        tokens=st.integers(0, 30),
        tenant=st.sampled_from("ab"),
    ),
    min_size=2,
    max_size=40,
)


@given(bursts, events)
def test_nobody_of_a_class_and_a_tenant_waits_while_one_who_is_due_later_goes(
    burst: list[Come], happens: list[Event]
) -> None:
    """Whatever order they came in: more of them come at once than there is room for."""
    history = live(happens, burst)

    assert history.overtaken == []
    assert any(decision.batches for _, decision in history.decisions)


@given(events)
def test_what_has_ended_leaves_nothing_behind(happens: list[Event]) -> None:
    history = live(happens)
    pool, flights = history.pool, history.pool.controller._flights
    assert len(flights) == sum(map(len, pool.sent.values()))
    for worker in WORKERS:
        while pool.sent.get(worker):
            pool.finish(worker, now_s=T0_S + 20.0)
    assert (len(flights), len(flights._by_origin), len(flights._landed)) == (0, 0, 0)
    assert set(flights._lines) == set(WORKERS)


@given(events)
def test_only_what_may_be_shed_is_dropped(happens: list[Event]) -> None:
    dropped = [each for _, decision in live(happens).decisions for each in decision.dropped]

    assert all(each.ticket.may_be_shed and each.why.reason == "predicted_late" for each in dropped)


@given(events)
def test_a_worker_never_has_more_than_one_batch_beyond_the_one_that_it_runs(happens: list[Event]) -> None:
    assert live(happens).most_in_flight <= 2


@given(events)
def test_nobody_is_held_beyond_the_last_moment_of_the_first_one_due(happens: list[Event]) -> None:
    history = live(happens)
    for now_s, decision in history.decisions:
        if decision.deferral is not None and decision.deferral.has_room:
            assert decision.wake_at_s is not None
            due_s = [t.due_at_ms / 1000 for t in history.came if t.produced_ms / 1000 <= now_s and t.is_waiting]
            assert all(decision.wake_at_s <= due for due in due_s)


@given(events)
@settings(max_examples=30)
def test_the_same_events_have_the_same_effects(happens: list[Event]) -> None:
    once, again = live(happens), live(happens)

    assert [_told(now_s, decision) for now_s, decision in once.decisions] == [
        _told(now_s, decision) for now_s, decision in again.decisions
    ]


def _told(now_s: float, decision: Decision) -> object:
    return (
        now_s,
        decision.wake_at_s,
        [(batch.worker.name, batch.why, [part.ticket.id for part in batch.parts]) for batch in decision.batches],
        [(dropped.ticket.id, dropped.why) for dropped in decision.dropped],
        decision.deferral,
    )
