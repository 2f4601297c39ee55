"""Who gets whose answer, through the scheduler."""

from typing import Any

import msgspec
import pytest

from processors.effects import Answer, Dispatch, Effect, Forward, Trace
from processors.policy import TenantPolicy
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    T0_S,
    a_body,
    a_cancellation,
    a_finished,
    a_handback,
    a_request,
    a_scheduler,
    an_arrival,
    beat,
    of_kind,
)
from topics.dispatches import Dispatch as Record
from topics.dispatches import Return
from topics.responses import Completed, Delta, Rejected, Response, Started, Usage
from topics.texts import ANY_TENANT, Keeping, TextRules
from topics.trace_rows import RequestRow, TextRow

GREEDY = a_body(temperature=0, stream=True)
SHARING = TenantPolicy(shares_cache=True)


def ask(scheduler: Scheduler, offset: int, request_id: str, body: Any = GREEDY, **fields: Any) -> list[Effect]:
    arrival = an_arrival(offset, a_request(request_id, body=body, **fields))
    return scheduler.on_request(arrival, "interactive", now_s=T0_S)


def records(effects: list[Effect]) -> list[Record]:
    return [effect.record for effect in of_kind(effects, Dispatch)]


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.row.kind for effect in of_kind(effects, Trace) if hasattr(effect.row, "kind")]


def test_identical_requests_wait_for_the_first_and_go_after_it_into_its_slot() -> None:
    scheduler = a_scheduler()
    ask(scheduler, 0, "a")
    held = ask(scheduler, 1, "b")
    assert (scheduler.queued, scheduler.sharing.held, kinds(held)) == (1, 1, ["request.coalesced"])
    first, second = records(beat(scheduler))
    assert (first.primary, second.id, second.seq, second.reason) == (None, "b", 0, "coalesced")
    assert second.primary is not None
    assert (second.primary.origin, second.primary.reply) == (first.origin, first.reply)
    assert scheduler.sharing.held == 0


def test_a_request_that_runs_is_joined_at_once_and_takes_no_credit() -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=1)
    ask(scheduler, 0, "a")
    (second,) = records(ask(scheduler, 1, "b"))
    assert second.primary is not None


@pytest.mark.parametrize("body", [a_body(temperature=1), a_body(), a_body(temperature=0, n=2)])
def test_what_is_not_deterministic_is_not_shared(body: msgspec.Raw) -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=8)
    ask(scheduler, 0, "a", body)
    (second,) = records(ask(scheduler, 1, "b", body))
    assert second.primary is None


@pytest.mark.parametrize(("tenants", "is_shared"), [({}, False), ({"t1": SHARING}, False), ({"*": SHARING}, True)])
def test_tenants_share_only_if_both_allow_it(tenants: dict[str, TenantPolicy], is_shared: bool) -> None:
    scheduler = a_scheduler(tenants=tenants)
    beat(scheduler, free=8)
    ask(scheduler, 0, "a", tenant="t1")
    (second,) = records(ask(scheduler, 1, "b", tenant="t2"))
    assert (second.primary is not None) is is_shared


def test_coalescing_can_be_switched_off() -> None:
    scheduler = a_scheduler(coalesces=False)
    beat(scheduler, free=8)
    ask(scheduler, 0, "a")
    assert records(ask(scheduler, 1, "b"))[0].primary is None


def test_who_streams_does_not_join_who_does_not() -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=8)
    ask(scheduler, 0, "a", a_body(temperature=0))
    assert records(ask(scheduler, 1, "b"))[0].primary is None
    assert records(ask(scheduler, 2, "c", a_body(temperature=0)))[0].primary is not None


def test_the_same_id_attaches_while_it_runs_and_after_it_completed() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    (first,) = records(ask(scheduler, 0, "a", a_body()))
    assert records(ask(scheduler, 1, "a", a_body()))[0].reason == "attached"
    scheduler.on_completion(a_finished(first.origin))
    again = records(ask(scheduler, 2, "a", a_body()))[0]
    assert again.primary is not None and again.primary.origin == first.origin


@pytest.mark.parametrize("outcome", ["failed", "expired", "cancelled"])
def test_an_end_that_is_not_remembered_gives_the_id_a_fresh_chance(outcome: str) -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=8)
    (first,) = records(ask(scheduler, 0, "a", a_body()))
    scheduler.on_completion(msgspec.structs.replace(a_finished(first.origin), outcome=outcome))
    assert records(ask(scheduler, 1, "a", a_body(max_tokens=3)))[0].primary is None


def test_the_same_id_with_another_body_is_a_conflict() -> None:
    scheduler = a_scheduler()
    ask(scheduler, 0, "a")
    (answer,) = of_kind(ask(scheduler, 1, "a", a_body(max_tokens=3)), Answer)
    (rejected,) = answer.records
    assert isinstance(rejected, Rejected) and rejected.error is not None
    assert (rejected.error.code, rejected.error.retryable) == ("id_conflict", False)


def test_an_id_is_forgotten_after_the_window() -> None:
    scheduler = a_scheduler(dedupe_window_s=10)
    beat(scheduler, free=8)
    ask(scheduler, 0, "a", a_body())
    later = an_arrival(1, a_request("a", body=a_body(max_tokens=3)), timestamp_ms=int((T0_S + 11) * 1000))
    assert not of_kind(scheduler.on_request(later, "interactive", now_s=T0_S + 11), Answer)


def test_cancelling_who_is_held_ends_only_that_one() -> None:
    scheduler = a_scheduler()
    for offset, name in enumerate("abc"):
        ask(scheduler, offset, name)
    effects = scheduler.on_cancel(a_cancellation("b"), now_s=T0_S)
    assert [answer.records[0].id for answer in of_kind(effects, Answer)] == ["b"]
    assert [record.id for record in records(beat(scheduler))] == ["a", "c"]


def test_cancelling_the_first_that_waits_queues_the_next_for_all_others() -> None:
    scheduler = a_scheduler()
    for offset, name in enumerate("abc"):
        ask(scheduler, offset, name)
    scheduler.on_cancel(a_cancellation("a"), now_s=T0_S)
    assert (scheduler.queued, scheduler.sharing.held) == (1, 1)
    first, second = records(beat(scheduler))
    assert (first.id, first.primary, second.id) == ("b", None, "c")


def test_who_was_held_and_then_queued_expires_once() -> None:
    scheduler = a_scheduler()
    for offset, name in enumerate("ab"):
        ask(scheduler, offset, name)
    for offset, name in enumerate("xy", 2):
        ask(scheduler, offset, name, a_body(max_tokens=11, temperature=0, stream=True), deadline_ms=1000)
    scheduler.on_cancel(a_cancellation("a"), now_s=T0_S)
    expired = of_kind(scheduler.on_wake(now_s=T0_S + 10_000), Answer)
    assert sorted(answer.records[-1].id for answer in expired) == ["b", "x", "y"]
    assert (scheduler.queued, scheduler.sharing.held) == (0, 0)


def test_who_is_attached_is_cancelled_in_the_slot() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    ask(scheduler, 0, "a")
    (second,) = records(ask(scheduler, 1, "b"))
    (forward,) = of_kind(scheduler.on_cancel(a_cancellation("b"), now_s=T0_S), Forward)
    assert forward.record.origin == second.origin


def test_who_was_detached_is_generated_and_the_next_ones_join_it() -> None:
    scheduler = a_scheduler()
    beat(scheduler, free=8)
    ask(scheduler, 0, "a")
    attached = [records(ask(scheduler, offset, name))[0] for offset, name in ((1, "b"), (2, "c"))]
    back = [_detached(scheduler, record, offset) for offset, record in enumerate(attached)]
    (own,), (joined,) = map(records, back)
    assert (own.id, own.hop, own.primary) == ("b", 1, None)
    assert joined.primary is not None and joined.primary.origin == own.origin


def _detached(scheduler: Scheduler, record: Record, offset: int) -> list[Effect]:
    handback = a_handback(record, offset=offset)
    returned: Return = msgspec.structs.replace(handback.record, reason="detached")
    return scheduler.on_return(msgspec.structs.replace(handback, record=returned), now_s=T0_S)


def _told(origin: str) -> list[Response]:
    usage = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
    return [
        Started(id="a", origin=origin, attempt="x", mode="fresh", hop=0, dispatch="d/0/0", term=0, deployment="m@v1"),
        Delta(id="a", origin=origin, attempt="x", seq=0, text="Hi there", token_ids=[1, 2]),
        Completed(id="a", origin=origin, attempt="x", next_seq=2, usage=usage, finish_reason="stop"),
    ]


def _learned(**policy: Any) -> Scheduler:
    scheduler = a_scheduler(**policy)
    beat(scheduler, free=8)
    (first,) = records(ask(scheduler, 0, "a"))
    for record in _told(first.origin):
        scheduler.sharing.on_response(record, now_s=T0_S)
    scheduler.on_completion(a_finished(first.origin))
    return scheduler


def test_a_learned_answer_is_given_again_with_its_usage_and_a_mark() -> None:
    effects = ask(_learned(cache_bytes=1 << 20), 1, "b")
    (answer,) = of_kind(effects, Answer)
    started, delta, completed = answer.records
    assert (started.mode, delta.text, delta.token_ids) == ("fresh", "Hi there", [1, 2])
    assert (completed.source, completed.usage.completion_tokens, completed.next_seq) == ("cache", 2, 2)
    assert kinds(effects) == ["request.cache_hit"]


def test_a_learned_answer_is_given_whole_to_who_does_not_stream() -> None:
    (answer,) = of_kind(ask(_learned(cache_bytes=1 << 20), 1, "b", a_body(temperature=0)), Answer)
    (completed,) = answer.records
    body = msgspec.json.decode(completed.body)
    assert (body["choices"][0]["message"]["content"], body["id"]) == ("Hi there", "chatcmpl-b")
    assert (completed.attempt, completed.source) == (None, "cache")


@pytest.mark.parametrize(("keeping", "texts"), [("none", []), ("hash", []), ("full", [("user: Hello", "Hi there")])])
def test_what_is_kept_of_the_texts_of_a_learned_answer_is_the_tenants_choice(
    keeping: Keeping, texts: list[tuple[str, str]]
) -> None:
    rules = TextRules(tenants={ANY_TENANT: keeping})
    effects = ask(_learned(cache_bytes=1 << 20, texts=rules), 1, "b")
    rows = [effect.row for effect in of_kind(effects, Trace)]
    (row,) = [row for row in rows if isinstance(row, RequestRow)]
    said = (row.prompt_chars, row.prompt_hash, row.answer_chars, row.answer_hash)
    assert said == rules.columns(row.tenant, prompt="user: Hello", answer="Hi there")
    assert [(text.prompt, text.answer) for text in rows if isinstance(text, TextRow)] == texts


def test_without_memory_nothing_is_learned() -> None:
    scheduler = _learned(cache_bytes=0)
    assert records(ask(scheduler, 1, "b"))[0].primary is None
    assert (len(scheduler.sharing.cache), scheduler.sharing.cache.expected) == (0, 0)


def test_the_cache_stays_within_its_bytes() -> None:
    scheduler = a_scheduler(cache_bytes=20_000)
    beat(scheduler, free=1000, kv=10**9)
    for offset in range(60):
        (record,) = records(ask(scheduler, offset, f"r{offset}", a_body(temperature=0, stream=True, seed=offset)))
        for response in _told(record.origin):
            scheduler.sharing.on_response(response, now_s=T0_S)
        scheduler.on_completion(a_finished(record.origin))
    assert 0 < scheduler.sharing.cache.bytes <= 20_000
