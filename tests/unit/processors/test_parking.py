"""Work that yields gives way: its room counts for others, no more of it than there is, and not back and forth."""

from typing import Any

import msgspec

from processors.effects import Answer, Dispatch, Trace
from processors.events import Address, Handback
from processors.policy import ClassPolicy
from processors.routing.fleet import PARKED_S
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    MODEL,
    SENDER,
    T0_MS,
    T0_S,
    a_cancellation,
    a_policy,
    a_scheduler,
    admit,
    beat,
    of_kind,
)
from topics import names
from topics.dispatches import Return, Told
from topics.fleet import Credits
from topics.responses import CancelledRequest, Usage
from topics.trace_rows import RequestRow

CLASSES = {**a_policy().classes, "bulk": ClassPolicy(priority=3, deadline_ms=86_400_000, queue_limit=9, yields=True)}

RESERVE = 4
"""Of 32 sequences, an eighth."""


def a_yielding_scheduler() -> Scheduler:
    return a_scheduler(classes=CLASSES)


def full(parkable: int, *, kv: int = 100_000, parkable_kv: int = 0, free: int = 0) -> Credits:
    return Credits(free_sequences=free, free_kv_tokens=kv, parkable_sequences=parkable, parkable_kv_tokens=parkable_kv)


def dispatches(effects: list[Any]) -> list[Any]:
    return [effect.record for effect in of_kind(effects, Dispatch)]


def handed_back(scheduler: Scheduler, dispatch: Any, *, now_s: float = T0_S, **changes: Any) -> list[Any]:
    record = Return(dispatch=dispatch, dispatched_at_ms=T0_MS + 5, worker="w1", reason="parked", **changes)
    at = Address(names.returns_topic(MODEL), 0, 0)
    return scheduler.on_return(Handback(at=at, record=record), now_s=now_s)


def test_what_can_be_parked_is_room_for_what_does_not_yield() -> None:
    scheduler = a_yielding_scheduler()
    beat(scheduler, credits=full(2))
    assert [record.yields for record in dispatches(admit(scheduler, 0, latency_class="realtime"))] == [False]


def test_it_is_no_room_for_what_yields() -> None:
    scheduler = a_yielding_scheduler()
    beat(scheduler, credits=full(2))
    assert dispatches(admit(scheduler, 0, latency_class="bulk")) == []


def test_dispatches_say_that_they_yield() -> None:
    scheduler = a_yielding_scheduler()
    beat(scheduler, free=32)
    assert [record.yields for record in dispatches(admit(scheduler, 0, latency_class="bulk"))] == [True]


def test_no_more_is_promised_than_can_be_parked() -> None:
    scheduler = a_yielding_scheduler()
    beat(scheduler, credits=full(2))
    assert len(dispatches(admit(scheduler, 0, 1, 2, 3, latency_class="realtime"))) == 2
    still_parking = beat(scheduler, seq=2, credits=full(1), slots=(0,), seen={SENDER: 1})
    assert dispatches(still_parking) == []


def test_kv_tokens_that_can_be_parked_count_as_well() -> None:
    scheduler = a_yielding_scheduler()
    beat(scheduler, credits=full(1, kv=0, parkable_kv=10, free=1))
    assert dispatches(admit(scheduler, 0, latency_class="realtime")) == []
    assert len(dispatches(beat(scheduler, seq=2, credits=full(1, kv=0, parkable_kv=100, free=1)))) == 1


def test_a_worker_with_room_is_chosen_before_one_that_has_to_park() -> None:
    scheduler = a_yielding_scheduler()
    beat(scheduler, "a", credits=full(20), slots=(0,))
    beat(scheduler, "b", credits=full(0, free=1), slots=(1,))
    (effect,) = of_kind(admit(scheduler, 0, latency_class="realtime"), Dispatch)
    assert effect.slot == 1


def test_what_was_parked_does_not_go_straight_back() -> None:
    scheduler = a_yielding_scheduler()
    (bulk,) = dispatches([*beat(scheduler, free=32), *admit(scheduler, 0, latency_class="bulk")])
    beat(scheduler, seq=2, credits=full(1), seen={SENDER: 1})
    admit(scheduler, 1, latency_class="realtime")
    assert dispatches(handed_back(scheduler, bulk)) == []
    some: dict[str, Any] = {"free": RESERVE + 1, "seen": {SENDER: 2}}
    assert dispatches(beat(scheduler, seq=3, now_s=T0_S + PARKED_S / 2, **some)) == []
    (again,) = dispatches(beat(scheduler, seq=4, now_s=T0_S + PARKED_S, **some))
    assert (again.origin, again.hop, again.first_dispatched_at_ms) == (bulk.origin, 1, T0_MS + 5)
    assert again.deadline_at_ms == bulk.deadline_at_ms


def test_what_was_told_of_a_parked_answer_goes_with_its_next_dispatch() -> None:
    scheduler = a_yielding_scheduler()
    (bulk,) = dispatches([*beat(scheduler, free=32), *admit(scheduler, 0, latency_class="bulk")])
    beat(scheduler, seq=2, free=32, seen={SENDER: 1})
    told = Told(tokens=5, first_at_us=T0_MS * 1000, last_at_us=T0_MS * 1000 + 9)
    (again,) = dispatches(handed_back(scheduler, msgspec.structs.replace(bulk, told=told)))
    assert (bulk.told, again.told) == (None, told)


def test_the_row_of_a_parked_request_that_is_cancelled_has_the_tokens_its_sender_got() -> None:
    scheduler = a_yielding_scheduler()
    (bulk,) = dispatches([*beat(scheduler, free=32), *admit(scheduler, 0, latency_class="bulk")])
    beat(scheduler, seq=2, credits=full(0), seen={SENDER: 1})
    produced_us = bulk.stations.produced_at_us
    told = Told(tokens=5, first_at_us=produced_us + 70_000, last_at_us=produced_us + 90_000)
    handed_back(scheduler, msgspec.structs.replace(bulk, told=told))
    effects = scheduler.on_cancel(a_cancellation(bulk.id), now_s=T0_S)
    (row,) = [e.row for e in of_kind(effects, Trace) if isinstance(e.row, RequestRow)]
    assert (row.outcome, row.tokens_out, row.answer_tokens) == ("cancelled", 0, 5)
    assert (row.answer_first_us, row.answer_last_us) == (70_000, 90_000)


def test_what_was_parked_goes_before_what_came_after_it() -> None:
    scheduler = a_yielding_scheduler()
    beat(scheduler, free=32)
    (bulk,) = dispatches(admit(scheduler, 0, latency_class="bulk", deadline_ms=70_000_000))
    beat(scheduler, seq=2, credits=full(0), seen={SENDER: 1})
    admit(scheduler, 1, 2, latency_class="bulk", deadline_ms=80_000_000)
    handed_back(scheduler, bulk)
    first, *_ = dispatches(beat(scheduler, seq=3, free=5, seen={SENDER: 1}))
    assert first.hop == 1


def test_what_comes_back_is_due_when_it_was_before() -> None:
    rules = ClassPolicy(priority=1, deadline_ms=60_000, queue_limit=9, ttft_ms=1000, tpot_ms=50)
    scheduler = a_scheduler(classes={**CLASSES, "interactive": rules})
    beat(scheduler, free=1)
    (patient,) = dispatches(admit(scheduler, 0, deadline_ms=50_000))
    admit(scheduler, 1, deadline_ms=40_000)
    handed_back(scheduler, patient)
    assert [record.id for record in dispatches(beat(scheduler, seq=2, free=4, seen={SENDER: 1}))] == ["r1", "r0"]


def test_what_an_older_release_dispatched_is_due_by_its_class() -> None:
    rules = ClassPolicy(priority=1, deadline_ms=60_000, queue_limit=9, ttft_ms=1000, tpot_ms=50)
    scheduler = a_scheduler(classes={**CLASSES, "interactive": rules})
    beat(scheduler, free=1)
    (first,) = dispatches(admit(scheduler, 0))
    handed_back(scheduler, msgspec.structs.replace(first, due_at_ms=0))
    (again,) = dispatches(beat(scheduler, seq=2, free=4, seen={SENDER: 1}))
    assert (first.due_at_ms, again.due_at_ms) == (T0_MS + 1000, T0_MS + 1000)


def test_cancelled_while_parked_it_ends_with_what_it_has_used() -> None:
    scheduler = a_yielding_scheduler()
    (bulk,) = dispatches([*beat(scheduler, free=32), *admit(scheduler, 0, latency_class="bulk")])
    beat(scheduler, seq=2, credits=full(0), seen={SENDER: 1})
    usage = Usage(prompt_tokens=3, completion_tokens=40, total_tokens=43)
    handed_back(scheduler, bulk, usage=usage, generated=40)
    (answer,) = of_kind(scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S), Answer)
    terminal = answer.records[-1]
    assert (type(terminal), terminal.usage) == (CancelledRequest, usage)


def test_a_cancellation_that_came_before_the_return_ends_it() -> None:
    first, successor = a_yielding_scheduler(), a_yielding_scheduler()
    (bulk,) = dispatches([*beat(first, free=32), *admit(first, 0, latency_class="bulk")])
    successor.on_cancel(a_cancellation("r0"), now_s=T0_S)
    (answer,) = of_kind(handed_back(successor, bulk), Answer)
    assert isinstance(answer.records[-1], CancelledRequest)


def test_tokens_of_a_parked_attempt_are_charged_to_its_tenant() -> None:
    scheduler = a_yielding_scheduler()
    (bulk,) = dispatches([*beat(scheduler, free=32), *admit(scheduler, 0, latency_class="bulk")])
    beat(scheduler, seq=2, credits=full(0), seen={SENDER: 1})
    counter = scheduler._queues.counters["bulk"]
    before = counter.value("default")
    handed_back(scheduler, bulk, generated=40)
    assert counter.value("default") == before + 80
