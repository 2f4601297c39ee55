"""What a shard's successor makes of the logs of its former owner."""

from typing import Any

import msgspec
import pytest

from processors.dedupe.runs import Run
from processors.effects import Answer, Forward
from processors.effects import Dispatch as DispatchEffect
from processors.events import Address
from processors.recovery.answers import AnswerScan, Fate, Question
from processors.recovery.cancelled import Past
from processors.recovery.identities import IdentityScan
from processors.recovery.legacy import Legacy
from processors.recovery.rows import row_of_request, row_of_return
from processors.recovery.slots import Place
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    DEPLOYMENT,
    MODEL,
    REPLIES,
    T0_MS,
    T0_S,
    a_body,
    a_cancellation,
    a_heartbeat,
    a_policy,
    a_request,
    a_scheduler,
    an_arrival,
    of_kind,
)
from topics import names
from topics.codec import encode
from topics.dispatches import BatchPart, Cancel, Dispatch, Primary, Return, Stations, Told
from topics.errors import IdConflict, RateLimited
from topics.requests import ReplyTo
from topics.responses import CancelledRequest, Completed, ErrorBody, Rejected, Started, Usage

LANE = names.Lane(MODEL, "interactive").topic
RETURNS = names.returns_topic(MODEL)
REPLY = ReplyTo(topic=names.RESPONSES, partition=1)


def at(offset: int, topic: str = LANE) -> Address:
    return Address(topic, 0, offset)


def a_dispatch(offset: int, *, request_id: str | None = None, **fields: Any) -> Dispatch:
    defaults: dict[str, Any] = {
        "id": request_id or f"r{offset}",
        "tenant": "default",
        "model": MODEL,
        "latency_class": "interactive",
        "deployment": DEPLOYMENT,
        "endpoint": "/v1/chat/completions",
        "body": a_body(),
        "origin": at(offset).origin,
        "reply": REPLY,
        "deadline_at_ms": T0_MS + 60_000,
        "priority": 1,
        "sender": "before.0.1",
        "seq": 1,
        "batch": BatchPart(id="b", index=0, size=1),
        "stations": Stations(produced_at_us=(T0_MS + offset) * 1000),
        "reason": "room",
    }
    return Dispatch(**{**defaults, **fields})


def a_place(offset: int = 0, **fields: Any) -> Place:
    return Place(**{"deployment": DEPLOYMENT, "slot": 1, "offset": offset, "at_ms": T0_MS, "is_open": True, **fields})


def a_return(dispatch: Dispatch) -> Return:
    return Return(dispatch=dispatch, dispatched_at_ms=T0_MS, worker="w1", reason="drained")


def a_legacy(committed: int = 0, *, waiting: tuple[int, ...] = (), **changes: Any) -> Legacy:
    """Of a shard whose lane was committed up to an offset; requests `r<offset>` are not."""
    legacy = Legacy(a_policy(**changes), 0, REPLIES)
    legacy.begin({LANE: committed, RETURNS: 0})
    for offset in waiting:
        legacy.on_waiting(at(offset), T0_MS + offset, encode(a_request(f"r{offset}", reply=REPLY)))
    return legacy


def a_successor(legacy: Legacy, **changes: Any) -> tuple[Scheduler, list[Any]]:
    """A scheduler that goes on with a legacy, and what it did at once; a worker has room."""
    legacy.conclude()
    scheduler = a_scheduler(**changes)
    effects = scheduler.inherit(legacy)
    scheduler.on_heartbeat(a_heartbeat(slots=(0, 1)), at_ms=T0_MS, now_s=T0_S)
    return scheduler, effects


def test_what_was_dispatched_and_not_committed_is_settled_once() -> None:
    legacy = a_legacy(5, waiting=(5, 6, 7))
    legacy.slots.on_dispatch(a_dispatch(5), at(5), a_place())
    legacy.slots.on_dispatch(a_dispatch(7), at(7), a_place(1, is_open=False))
    legacy.conclude()
    assert [legacy.take(at(offset)) for offset in (5, 6, 7)] == [Fate(None), None, Fate(None)]
    assert legacy.is_spent
    assert (legacy.dispatched, legacy.answered) == (2, 0)
    assert legacy.take(at(5)) is None


def test_a_dispatch_of_a_lane_that_was_made_anew_settles_nothing() -> None:
    legacy = a_legacy(5, waiting=(5,))
    stations = Stations(produced_at_us=(T0_MS - 1) * 1000)
    legacy.slots.on_dispatch(a_dispatch(5, stations=stations), at(5), a_place())
    legacy.conclude()
    assert legacy.take(at(5)) is None


def test_only_what_is_not_known_to_be_dispatched_is_asked_for() -> None:
    legacy = a_legacy(5, waiting=(5, 6))
    legacy.slots.on_dispatch(a_dispatch(5), at(5), a_place())
    assert legacy.questions() == [Question(at(6).origin, "r6", REPLY, T0_MS + 6)]


def test_what_the_former_owner_has_answered_is_settled_with_its_end() -> None:
    legacy = a_legacy(waiting=(0, 1))
    scan = AnswerScan(legacy.questions())
    told = Rejected(id="r1", origin=at(1).origin, error=ErrorBody.of(RateLimited("too many", retry_after_s=1.0)))
    foreign = Rejected(id="r1", origin=f"{LANE}/0/99")
    for offset, record in enumerate((foreign, told)):
        scan.on_record(REPLY, offset, b"r1", encode(record))
    legacy.on_answers(scan.fates())
    legacy.conclude()
    assert legacy.take(at(0)) is None
    assert legacy.take(at(1)) == Fate(told)
    assert legacy.answered == 1


def test_a_late_cancellation_of_what_was_answered_is_dropped() -> None:
    legacy = a_legacy(waiting=(1,))
    legacy.on_answers({at(1).origin: Fate(CancelledRequest(id="r1", origin=at(1).origin))})
    scheduler, _ = a_successor(legacy)
    scheduler.on_cancel(a_cancellation("r1"), now_s=T0_S)
    effects = scheduler.on_request(an_arrival(9, a_request("r1")), "interactive", now_s=T0_S)
    assert of_kind(effects, Answer) == []


def test_a_request_that_a_worker_has_begun_was_dispatched() -> None:
    legacy = a_legacy(waiting=(0, 1))
    scan = AnswerScan(legacy.questions())
    scan.on_record(REPLY, 0, b"r0", encode(_started(0, dispatch="inference.dispatch.m.v1/0/3")))
    scan.on_record(REPLY, 1, b"r1", encode(_started(1, dispatch=at(1).origin)))
    legacy.on_answers(scan.fates())
    legacy.conclude()
    assert legacy.take(at(0)) == Fate(None)
    assert legacy.take(at(1)) is None


def test_a_terminal_that_readers_ignore_ends_nothing() -> None:
    scan = AnswerScan([Question(at(0).origin, "r0", REPLY, T0_MS)])
    scan.on_record(REPLY, 5, b"r0", encode(Completed(id="r0", origin=at(0).origin, attempt="x", finish_reason="stop")))
    assert scan.fates() == {}


def test_the_answer_of_several_steps_is_judged_in_log_order() -> None:
    scan = AnswerScan([Question(at(0).origin, "r0", REPLY, T0_MS)])
    end = CancelledRequest(id="r0", origin=at(0).origin, attempt="a")
    scan.on_record(REPLY, 8, b"r0", encode(end))
    scan.on_record(REPLY, 7, b"r0", encode(_started(0, dispatch=at(4, RETURNS).origin)))
    assert scan.fates() == {at(0).origin: Fate(end)}


def test_a_hand_back_is_settled_by_a_dispatch_of_a_higher_hop_only() -> None:
    for hop, expected in ((0, None), (1, Fate(None))):
        legacy = a_legacy(committed=9)
        legacy.on_returned(at(0, RETURNS), T0_MS, encode(a_return(a_dispatch(3))))
        legacy.slots.on_dispatch(a_dispatch(3, hop=hop), at(3), a_place(is_open=False))
        legacy.conclude()
        assert legacy.take(at(0, RETURNS)) == expected


def test_of_two_dispatches_the_higher_hop_counts_and_then_the_first() -> None:
    legacy = a_legacy()
    for slot, offset, hop in ((0, 9, 1), (1, 4, 1), (0, 2, 0)):
        legacy.slots.on_dispatch(a_dispatch(0, hop=hop), at(0), a_place(offset, slot=slot))
    (found,) = legacy.slots
    assert (found.hop, found.slot, found.offset) == (1, 1, 4)


def test_committed_dispatches_of_committed_requests_are_not_kept() -> None:
    legacy = a_legacy(5)
    legacy.slots.on_dispatch(a_dispatch(4), at(4), a_place(is_open=False))
    assert len(legacy.slots) == 0


def test_a_running_request_can_be_cancelled() -> None:
    legacy = a_legacy(5)
    legacy.slots.on_dispatch(a_dispatch(4), at(4), a_place())
    scheduler, effects = a_successor(legacy)
    assert effects == []
    (forward,) = of_kind(scheduler.on_cancel(a_cancellation("r4"), now_s=T0_S), Forward)
    assert (forward.slot, forward.deployment, forward.record.origin) == (1, DEPLOYMENT, at(4).origin)


def test_a_cancellation_that_nobody_forwarded_is_forwarded() -> None:
    legacy = a_legacy(5)
    for offset in (1, 2, 3):
        legacy.slots.on_dispatch(a_dispatch(offset), at(offset), a_place(offset))
    legacy.slots.on_cancel(Cancel(id="r2", tenant="default", origin=at(2).origin))
    legacy.cancellations.on_record(("default", "r1"), T0_MS + 10)
    legacy.cancellations.on_record(("default", "r2"), T0_MS + 10)
    legacy.cancellations.on_record(("default", "r3"), T0_MS + 2)
    _, effects = a_successor(legacy)
    assert [effect.record.id for effect in effects] == ["r1"]


def test_a_cancellation_means_the_requests_before_it() -> None:
    legacy = a_legacy(5, waiting=(5, 6))
    legacy.cancellations.on_record(("default", "r5"), T0_MS + 100)
    legacy.cancellations.on_record(("default", "r6"), T0_MS + 1)
    scheduler, _ = a_successor(legacy)
    for offset in (5, 6):
        arrival = an_arrival(offset, a_request(f"r{offset}"), timestamp_ms=T0_MS + offset)
        answers = of_kind(scheduler.on_request(arrival, "interactive", now_s=T0_S), Answer)
        assert [type(answer.records[-1]) for answer in answers] == ([CancelledRequest] if offset == 5 else [])


def test_a_cancellation_is_early_where_no_request_of_its_id_was_before_it() -> None:
    legacy = a_legacy(5)
    legacy.seen_since_ms = T0_MS - 10_000
    legacy.identities.on_record(at(3), T0_MS - 500, encode(a_request("ended")))
    for request_id in ("ended", "early"):
        legacy.cancellations.on_record(("default", request_id), T0_MS - 100)
    legacy.cancellations.on_record(("default", "unknown"), T0_MS - 20_000)
    scheduler, _ = a_successor(legacy)
    cancelled = [
        request_id
        for offset, request_id in enumerate(("ended", "early", "unknown"), start=5)
        if of_kind(scheduler.on_request(an_arrival(offset, a_request(request_id)), "interactive", now_s=T0_S), Answer)
    ]
    assert cancelled == ["early"]


def test_a_cancellation_that_found_its_request_at_another_shard_was_not_early() -> None:
    legacy, sibling = a_legacy(5), a_legacy(5)
    legacy.seen_since_ms = T0_MS - 10_000
    legacy.siblings = [sibling]
    sibling.identities.on_record(at(3), T0_MS - 500, encode(a_request("there")))
    for request_id in ("there", "nowhere"):
        legacy.cancellations.on_record(("default", request_id), T0_MS - 100)
    legacy.conclude()
    assert [kept.key for kept in legacy.kept] == [("default", "nowhere")]


def test_a_hand_back_that_was_cancelled_meanwhile_ends() -> None:
    legacy = a_legacy(9)
    record = a_return(a_dispatch(3))
    legacy.on_returned(at(0, RETURNS), T0_MS + 5, encode(record))
    legacy.cancellations.on_record(("default", "r3"), T0_MS + 10)
    legacy.conclude()
    assert [place.is_cancelled for place in legacy.places] == [True]
    assert legacy.to_cancel == []


def test_an_id_attaches_to_what_was_dispatched_before() -> None:
    legacy = a_legacy(5)
    legacy.slots.on_dispatch(a_dispatch(4), at(4), a_place())
    scheduler, _ = a_successor(legacy)
    effects = scheduler.on_request(an_arrival(7, a_request("r4")), "interactive", now_s=T0_S)
    (dispatch,) = of_kind(effects, DispatchEffect)
    assert dispatch.slot == 1
    assert dispatch.record.primary is not None
    assert (dispatch.record.primary.origin, dispatch.record.primary.reply) == (at(4).origin, REPLY)


def test_an_id_attaches_to_the_generation_and_not_to_its_copy() -> None:
    legacy = a_legacy(9)
    primary = Primary(id="r4", origin=at(4).origin, reply=REPLY, since_ms=T0_MS)
    legacy.slots.on_dispatch(a_dispatch(5, request_id="r4", primary=primary), at(5), a_place(1))
    legacy.slots.on_dispatch(a_dispatch(4), at(4), a_place())
    scheduler, _ = a_successor(legacy)
    effects = scheduler.on_request(an_arrival(12, a_request("r4")), "interactive", now_s=T0_S)
    (dispatch,) = of_kind(effects, DispatchEffect)
    assert dispatch.record.primary is not None
    assert dispatch.record.primary.origin == at(4).origin


def test_an_id_attaches_to_what_had_ended_before() -> None:
    legacy = a_legacy(5)
    legacy.identities.on_record(at(2), T0_MS - 1000, encode(a_request("r2", reply=REPLY)))
    scheduler, _ = a_successor(legacy)
    (dispatch,) = of_kind(
        scheduler.on_request(an_arrival(7, a_request("r2")), "interactive", now_s=T0_S), DispatchEffect
    )
    assert dispatch.record.primary is not None
    assert (dispatch.record.primary.origin, dispatch.record.primary.since_ms) == (at(2).origin, T0_MS - 3000)


def test_an_id_with_another_body_conflicts() -> None:
    legacy = a_legacy(5)
    legacy.identities.on_record(at(2), T0_MS - 1000, encode(a_request("r2")))
    scheduler, _ = a_successor(legacy)
    other = an_arrival(7, a_request("r2", body=a_body(max_tokens=3)))
    (answer,) = of_kind(scheduler.on_request(other, "interactive", now_s=T0_S), Answer)
    assert answer.records[-1].error.code == IdConflict.code


def test_ids_older_than_the_window_are_not_known() -> None:
    legacy = a_legacy(5, dedupe_window_s=60.0)
    legacy.identities.on_record(at(2), T0_MS - 61_000, encode(a_request("r2")))
    scheduler, _ = a_successor(legacy, dedupe_window_s=60.0)
    (dispatch,) = of_kind(
        scheduler.on_request(an_arrival(7, a_request("r2")), "interactive", now_s=T0_S), DispatchEffect
    )
    assert dispatch.record.primary is None


def test_a_request_without_an_id_of_its_own_is_not_remembered() -> None:
    scan = IdentityScan(REPLIES, window_s=60)
    scan.on_record(at(1), T0_MS, encode(a_request()))
    scan.on_record(at(2), T0_MS, b"no json")
    scan.on_record(at(3), T0_MS, encode(a_request("r3", body=msgspec.Raw(b'{"messages": 5}'))))
    assert (len(scan), scan.records) == (0, 3)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_bodies_under_one_id_the_answers_decide(order: tuple[int, int]) -> None:
    bodies = {1: a_body(max_tokens=1), 2: a_body(max_tokens=2)}
    for ended, expected in (({}, 1), ({1: RateLimited("busy", retry_after_s=1.0)}, 2), ({2: IdConflict("in use")}, 1)):
        scan = IdentityScan(REPLIES, window_s=60)
        for offset in order:
            scan.on_record(at(offset), T0_MS + offset, encode(a_request("r", body=bodies[offset])))
        assert {question.origin for question in scan.doubtful()} == {at(1).origin, at(2).origin}
        scan.decide(
            {
                at(offset).origin: Fate(Rejected(id="r", origin=at(offset).origin, error=ErrorBody.of(error)))
                for offset, error in ended.items()
            }
        )
        assert [run.origin for run in scan.runs()] == [at(expected).origin]


def test_ids_are_bounded_and_the_newest_stay() -> None:
    scan = IdentityScan(REPLIES, window_s=60, limit=3)
    for offset in (9, 8, 7):
        assert not scan.is_full
        scan.on_record(at(offset), T0_MS + offset, encode(a_request(f"r{offset}")))
    assert scan.is_full
    assert [run.id for run in scan.runs()] == ["r7", "r8", "r9"]


def test_what_is_learned_late_does_not_displace_what_is_known() -> None:
    scheduler = a_scheduler()
    scheduler.on_request(an_arrival(1, a_request("r")), "interactive", now_s=T0_S)
    scan = IdentityScan(REPLIES, window_s=3600)
    scan.on_record(at(0), T0_MS - 5, encode(a_request("r", body=a_body(max_tokens=1))))
    scheduler.sharing.recall(scan.runs())
    effects = scheduler.on_request(an_arrival(2, a_request("r")), "interactive", now_s=T0_S)
    assert of_kind(effects, Answer) == []
    assert (scheduler.sharing.held, scheduler.sharing.known) == (1, 1)


def test_rows_of_answers_are_written_again() -> None:
    value = encode(a_request("r1", tenant="acme"))
    told = Rejected(
        id="r1",
        origin=at(1).origin,
        timing_ms={"finished": 12.345},
        error=ErrorBody.of(RateLimited("busy", retry_after_s=1.0)),
    )
    row = row_of_request(told, "interactive", at=at(1), timestamp_ms=T0_MS, value=value, headers=[])
    assert (row.tenant, row.outcome, row.error_code, row.attempt) == ("acme", "rejected", RateLimited.code, "")
    assert (row.produced_ts, row.finished_us, row.lane_offset, row.model) == (T0_MS * 1000, 12_345, 1, MODEL)


def test_rows_of_hand_backs_have_the_next_hop() -> None:
    end = CancelledRequest(id="r3", origin=at(3).origin, attempt="p1")
    row = row_of_return(end, encode(a_return(a_dispatch(3, hop=1))), [])
    assert (row.hop, row.attempt, row.outcome, row.lane_offset) == (2, "p1", "cancelled", 3)


def test_rows_of_hand_backs_tell_the_tokens_before_once() -> None:
    told = Told(tokens=5, first_at_us=T0_MS * 1000 + 70_000, last_at_us=T0_MS * 1000 + 90_000)
    usage = Usage(prompt_tokens=3, completion_tokens=5, total_tokens=8)
    end = CancelledRequest(id="r3", origin=at(3).origin, attempt="p1", usage=usage)
    row = row_of_return(end, encode(a_return(a_dispatch(3, told=told))), [])
    assert (row.tokens_out, row.answer_tokens, row.continued_last_us - row.continued_first_us) == (0, 5, 20_000)


def test_runs_of_the_past_are_those_of_requests_that_were_named() -> None:
    legacy = a_legacy(9)
    legacy.slots.on_dispatch(a_dispatch(1), at(1), a_place())
    legacy.slots.on_dispatch(a_dispatch(2, request_id=names.default_id(*at(2))), at(2), a_place(1))
    runs: list[Run] = legacy.runs()
    assert [(run.id, run.state, run.slot) for run in runs] == [("r1", "dispatched", 1)]


def _started(offset: int, *, dispatch: str) -> Started:
    return Started(
        id=f"r{offset}",
        origin=at(offset).origin,
        attempt="a",
        mode="fresh",
        hop=0,
        dispatch=dispatch,
        term=0,
        deployment=DEPLOYMENT,
    )


def test_of_more_cancellations_than_are_remembered_the_newest_are_kept() -> None:
    past = Past(limit=4)
    for at_ms in (50, 40, 30, 20, 10, 60):
        past.on_record(("acme", f"r{at_ms}"), at_ms)
    assert len(past) <= 4
    assert past.means(("acme", "r60"), 0) and past.means(("acme", "r50"), 0)
    assert not past.means(("acme", "r10"), 0)
