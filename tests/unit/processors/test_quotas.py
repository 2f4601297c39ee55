"""Hard limits of tenants, alone and as the scheduler enforces them."""

from typing import Any

import pytest

from processors.admission.quotas import LINGER_S, Quotas
from processors.effects import Answer, Dispatch
from processors.policy import EVERY_TENANT, TenantPolicy
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    T0_S,
    a_body,
    a_cancellation,
    a_finished,
    a_request,
    a_scheduler,
    admit,
    an_arrival,
    beat,
    of_kind,
)
from topics.responses import Rejected


def a_quota(*, shard: int = 0, shards: int = 1, **limits: Any) -> Quotas:
    return Quotas({"a": TenantPolicy(**limits)}, EVERY_TENANT, shard=shard, shards=shards)


def take(quotas: Quotas, origin: str, *, tokens: int = 10, now_s: float = T0_S, tenant: str = "a") -> float | None:
    """After how many seconds there is room; None if there is."""
    denied = quotas.take(tenant, origin, tokens, deadline_s=now_s + 60, now_s=now_s)
    return None if denied is None else denied.retry_after_s


def test_who_has_no_limits_is_not_counted() -> None:
    quotas = a_quota(concurrent=1)
    assert [take(quotas, str(i), tenant="b") for i in range(3)] == [None] * 3
    assert (len(quotas), quotas.known) == (0, 0)


def test_requests_beyond_the_rate_are_told_exactly_when_to_come_again() -> None:
    quotas = a_quota(requests_per_s=2)
    assert [take(quotas, "r1"), take(quotas, "r2")] == [None, None]
    assert take(quotas, "r3", now_s=T0_S + 0.125) == pytest.approx(0.375, abs=1e-6)
    assert take(quotas, "r3", now_s=T0_S + 0.5) is None


def test_a_rate_below_one_still_lets_one_through() -> None:
    quotas = a_quota(requests_per_s=0.1)
    assert take(quotas, "r1") is None
    assert take(quotas, "r2") == pytest.approx(10)


def test_what_is_denied_is_not_charged() -> None:
    quotas = a_quota(requests_per_s=1, tokens_per_min=6000)
    take(quotas, "r1", tokens=10)
    for i in range(5):
        take(quotas, f"x{i}", tokens=10)
    assert take(quotas, "r2", tokens=5990, now_s=T0_S + 1) is None


def test_tokens_are_settled_by_what_was_used() -> None:
    quotas = a_quota(tokens_per_min=600)
    take(quotas, "r1", tokens=100)
    quotas.settle("r1", used_tokens=600)
    assert take(quotas, "r2", tokens=50) == pytest.approx(5)


def test_what_was_not_used_is_given_back() -> None:
    quotas = a_quota(tokens_per_min=600)
    take(quotas, "r1", tokens=600)
    quotas.settle("r1", used_tokens=0)
    assert take(quotas, "r2", tokens=600) is None


def test_a_request_larger_than_the_burst_needs_a_full_bucket() -> None:
    quotas = a_quota(tokens_per_min=60)
    assert take(quotas, "r1", tokens=90) is None
    assert take(quotas, "r2", tokens=90) == pytest.approx(90)


def test_an_oversized_request_that_has_ended_makes_room_for_the_next() -> None:
    quotas = a_quota(tokens_per_min=60)
    take(quotas, "r1", tokens=600)
    assert take(quotas, "r2", tokens=600) == pytest.approx(600)
    quotas.settle("r1", used_tokens=30)
    assert take(quotas, "r2", tokens=600) == pytest.approx(30)
    assert take(quotas, "r2", tokens=600, now_s=T0_S + 30) is None


def test_a_record_that_is_read_again_is_neither_denied_nor_charged() -> None:
    quotas = a_quota(requests_per_s=2, tokens_per_min=60, concurrent=2)
    assert [take(quotas, "r1", tokens=60), take(quotas, "r1", tokens=60)] == [None, None]
    quotas.settle("r1", used_tokens=0)
    assert take(quotas, "r2", tokens=60) is None


def test_concurrent_requests_make_room_once_each() -> None:
    quotas = a_quota(concurrent=2)
    assert [take(quotas, "r1"), take(quotas, "r2")] == [None, None]
    assert take(quotas, "r3") == 1.0
    quotas.settle("r1", used_tokens=0)
    quotas.settle("r1", used_tokens=0)
    assert take(quotas, "r3") is None
    assert take(quotas, "r4") == 1.0


def test_a_request_that_nobody_ended_is_over_a_while_after_its_deadline() -> None:
    quotas = a_quota(concurrent=1)
    take(quotas, "r1")
    assert take(quotas, "r2", now_s=T0_S + 60 + LINGER_S - 1) == 1.0
    assert take(quotas, "r2", now_s=T0_S + 60 + LINGER_S + 1) is None


def test_shards_enforce_parts_that_add_up() -> None:
    parts = []
    for shard in range(3):
        quotas = a_quota(concurrent=7, requests_per_s=300, shard=shard, shards=3)
        parts.append(sum(take(quotas, f"r{i}") is None for i in range(10)))
    assert sorted(parts) == [2, 2, 3]


def test_full_buckets_are_forgotten() -> None:
    quotas = Quotas({}, TenantPolicy(requests_per_s=1))
    for i in range(1000):
        origin = f"r{i}"
        take(quotas, origin, tenant=f"t{i}", now_s=T0_S + i)
        quotas.settle(origin, used_tokens=0)
    assert quotas.known <= 65


def rejections(effects: list[Any]) -> list[Rejected]:
    return [record for answer in of_kind(effects, Answer) for record in answer.records if isinstance(record, Rejected)]


def limited(**limits: Any) -> Scheduler:
    return a_scheduler(tenants={"*": TenantPolicy(**limits)})


def test_the_scheduler_rejects_what_is_over_a_quota_and_says_when_to_retry() -> None:
    (rejected,) = rejections(admit(limited(requests_per_s=1), 0, 1))
    assert rejected.id == "r1"
    assert rejected.error is not None
    assert rejected.error.code == "rate_limited"
    assert rejected.error.retryable is True
    assert rejected.error.retry_after_s == pytest.approx(1)
    assert rejected.error.message.startswith("tenant 'default' is at its limit of 1 requests per second")


def test_an_answer_counts_as_long_as_it_may_become() -> None:
    scheduler = limited(tokens_per_min=600)
    assert len(rejections(admit(scheduler, *range(10), body=a_body(max_tokens=100)))) == 5
    assert scheduler.queued == 5


def test_every_answer_of_a_request_counts() -> None:
    assert len(rejections(admit(limited(tokens_per_min=600), 0, 1, body=a_body(max_tokens=100, n=5)))) == 1


def test_an_answer_without_a_limit_counts_as_long_as_is_assumed() -> None:
    assert len(rejections(admit(limited(tokens_per_min=1200), *range(5), body=a_body(max_tokens=None)))) == 3


def test_what_an_answer_did_not_use_is_given_back() -> None:
    scheduler = limited(tokens_per_min=600)
    admit(scheduler, 0, body=a_body(max_tokens=500))
    (dispatch,) = of_kind(beat(scheduler), Dispatch)
    assert len(rejections(admit(scheduler, 1, body=a_body(max_tokens=500)))) == 1
    scheduler.on_completion(a_finished(dispatch.record.origin))
    assert rejections(admit(scheduler, 2, body=a_body(max_tokens=500))) == []


def test_a_limit_below_what_one_request_may_use_does_not_lock_its_tenant_out() -> None:
    scheduler = limited(tokens_per_min=60)
    assert rejections(admit(scheduler, 0, body=a_body(max_tokens=500))) == []
    (rejected,) = rejections(admit(scheduler, 1, body=a_body(max_tokens=500)))
    assert rejected.error is not None
    assert rejected.error.retry_after_s is not None
    scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S)
    assert rejections(admit(scheduler, 2, body=a_body(max_tokens=500))) == []


def test_a_cancelled_request_makes_room() -> None:
    scheduler = limited(concurrent=1)
    admit(scheduler, 0)
    scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S)
    assert rejections(admit(scheduler, 1)) == []


def test_an_expired_request_makes_room() -> None:
    scheduler = limited(concurrent=1)
    admit(scheduler, 0, deadline_ms=1000)
    scheduler.on_wake(now_s=T0_S + 2)
    assert rejections(admit(scheduler, 1)) == []


def test_a_dispatched_request_makes_room_when_its_worker_says_that_it_has_ended() -> None:
    scheduler = limited(concurrent=1)
    admit(scheduler, 0)
    (dispatch,) = of_kind(beat(scheduler), Dispatch)
    assert len(rejections(admit(scheduler, 1))) == 1
    scheduler.on_completion(a_finished(dispatch.record.origin))
    assert rejections(admit(scheduler, 2)) == []


def test_a_request_that_is_no_request_takes_no_quota() -> None:
    scheduler = limited(concurrent=1)
    arrival = an_arrival(0, a_request("r0", body=a_body(max_tokens=-1)))
    scheduler.on_request(arrival, "interactive", now_s=T0_S)
    assert rejections(admit(scheduler, 1)) == []
