"""An id that comes again: who attaches, who conflicts, and which ends are forgotten so that a retry has a chance."""

from typing import Any

import msgspec
import pytest

from processors.batching.controller import Refused, Why
from processors.effects import Answer, Dispatch, Effect
from processors.policy import ClassPolicy, TenantPolicy
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    T0_S,
    a_body,
    a_cancellation,
    a_finished,
    a_handback,
    a_policy,
    a_request,
    a_scheduler,
    an_arrival,
    beat,
    of_kind,
)
from topics.responses import TerminalRecord


def ask(scheduler: Scheduler, offset: int, *, now_s: float = T0_S, tokens: int = 10, **fields: Any) -> list[Effect]:
    """A request `a`, at an offset of its own; another number of tokens is another body."""
    request = a_request("a", body=a_body(max_tokens=tokens), **fields)
    arrival = an_arrival(offset, request, timestamp_ms=int(now_s * 1000))
    return scheduler.on_request(arrival, "interactive", now_s=now_s)


def generated(effects: list[Effect]) -> bool:
    return any(effect.record.primary is None for effect in of_kind(effects, Dispatch))


def codes(effects: list[Effect]) -> list[str]:
    ends = [answer.records[-1] for answer in of_kind(effects, Answer)]
    return [end.error.code for end in ends if isinstance(end, TerminalRecord) and end.error is not None]


def test_what_a_quota_has_turned_away_may_come_again_with_any_body() -> None:
    scheduler = a_scheduler(tenants={"*": TenantPolicy(requests_per_s=1)})
    beat(scheduler, now_s=T0_S + 1)
    scheduler.on_request(an_arrival(0, a_request("first")), "interactive", now_s=T0_S)
    assert codes(ask(scheduler, 1)) == ["rate_limited"]
    assert generated(ask(scheduler, 2, now_s=T0_S + 1, tokens=3))


def test_what_was_predicted_to_be_late_may_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    late = Refused(Why("would_be_late"), retry_after_s=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(scheduler._controller, "refuse", lambda ticket, now_s: late)
        assert codes(ask(scheduler, 0)) == ["deadline_unmeetable"]
    assert generated(ask(scheduler, 1, tokens=3))


def test_what_expired_or_was_cancelled_in_its_lane_may_come_again() -> None:
    scheduler = a_scheduler()
    ask(scheduler, 0, deadline_ms=1000)
    assert codes(scheduler.on_wake(now_s=T0_S + 2)) == ["deadline_exceeded"]
    ask(scheduler, 1, now_s=T0_S + 2, tokens=3)
    assert codes(scheduler.on_cancel(a_cancellation("a"), now_s=T0_S + 2)) == ["cancelled"]
    ask(scheduler, 2, now_s=T0_S + 2, tokens=4)
    assert generated(beat(scheduler, now_s=T0_S + 2))


@pytest.mark.parametrize(("outcome", "is_new"), [("completed", False), ("rejected", False), ("failed", True)])
def test_only_ends_that_come_again_the_same_are_remembered(outcome: str, is_new: bool) -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=8)
    (first,) = of_kind(ask(scheduler, 0), Dispatch)
    scheduler.on_completion(msgspec.structs.replace(a_finished(first.record.origin), outcome=outcome))
    assert generated(ask(scheduler, 1)) is is_new


def test_a_conflict_leaves_the_id_to_who_has_it() -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=8)
    ask(scheduler, 0)
    assert codes(ask(scheduler, 1, tokens=3)) == ["id_conflict"]
    (again,) = of_kind(ask(scheduler, 2), Dispatch)
    assert again.record.reason == "attached"


def test_the_id_of_another_tenant_is_another_id() -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=8)
    ask(scheduler, 0)
    assert generated(ask(scheduler, 1, tokens=3, tenant="acme"))


def test_an_id_that_is_parked_is_attached_to_when_it_runs_again() -> None:
    classes = {
        **a_policy().classes,
        "interactive": ClassPolicy(priority=1, deadline_ms=60_000, queue_limit=9, yields=True),
    }
    scheduler = a_scheduler(classes=classes)
    beat(scheduler, free=32)
    (first,) = of_kind(ask(scheduler, 0), Dispatch)
    beat(scheduler, seq=2, free=0)
    scheduler.on_return(a_parked(first.record), now_s=T0_S)
    assert of_kind(ask(scheduler, 1), Dispatch) == []
    again = of_kind(beat(scheduler, seq=3, free=32), Dispatch)
    assert [(effect.record.hop, effect.record.reason == "attached") for effect in again] == [(1, False), (0, True)]


def a_parked(dispatch: Any) -> Any:
    handback = a_handback(dispatch, offset=9)
    return msgspec.structs.replace(handback, record=msgspec.structs.replace(handback.record, reason="parked"))
