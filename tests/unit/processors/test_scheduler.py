"""Decisions of the scheduler, one by one."""

from typing import Any

import msgspec
import pytest

from processors.effects import Answer, Dispatch, Forward, PauseLane, ResumeLane, Trace
from processors.policy import ClassPolicy, Identity
from processors.routing.deployments import WITHDRAWN_KEPT
from processors.scheduler import Scheduler
from tests.unit.processors.builders import (
    DEPLOYMENT,
    REPLIES,
    SENDER,
    T0_MS,
    T0_S,
    a_body,
    a_cancellation,
    a_finished,
    a_handback,
    a_heartbeat,
    a_policy,
    a_request,
    a_scheduler,
    admit,
    an_arrival,
    beat,
    of_kind,
)
from topics import names
from topics.bodies import CHAT
from topics.codec import decode_request
from topics.control import DeploymentState, Rollout
from topics.fleet import Credits, Limits
from topics.requests import ReplyTo
from topics.responses import CancelledRequest, Expired, Rejected, Started
from topics.trace_rows import BatchRow, EventRow, RequestRow


def dispatches(effects: list[Any]) -> list[Any]:
    return [effect.record for effect in of_kind(effects, Dispatch)]


def rows(effects: list[Any], kind: type[Any]) -> list[Any]:
    return [effect.row for effect in of_kind(effects, Trace) if isinstance(effect.row, kind)]


def terminals(effects: list[Any]) -> list[Any]:
    return [effect.records[-1] for effect in of_kind(effects, Answer)]


def test_a_request_waits_until_a_worker_has_room() -> None:
    scheduler = a_scheduler()
    assert dispatches(admit(scheduler, 0)) == []
    assert [record.id for record in dispatches(beat(scheduler))] == ["r0"]
    assert (scheduler.queued, scheduler.placed) == (0, 1)


def test_a_request_goes_out_at_once_when_there_is_room() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    (record,) = dispatches(admit(scheduler, 7))
    assert (record.endpoint, record.deployment, record.sender, record.seq) == (CHAT, DEPLOYMENT, SENDER, 1)
    assert (record.origin, record.hop, record.reason) == ("inference.requests.m.interactive/0/7", 0, "least_occupied")
    assert (record.deadline_at_ms, record.stations.produced_at_us) == (T0_MS + 60_000, T0_MS * 1000)


def test_the_dispatch_settles_the_record_and_carries_its_trace_context() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    context = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    arrival = an_arrival(3, headers=[context, ("other", b"x")])
    (effect,) = of_kind(scheduler.on_request(arrival, "interactive", now_s=T0_S), Dispatch)
    assert (effect.settles, effect.headers) == (arrival.at, [context])


def test_no_more_is_released_than_there_is_credit() -> None:
    scheduler = a_scheduler()
    admit(scheduler, *range(10))
    assert len(dispatches(beat(scheduler, free=4))) == 4
    assert scheduler.queued == 6


def test_what_was_dispatched_since_the_heartbeat_is_subtracted() -> None:
    scheduler = a_scheduler()
    admit(scheduler, *range(10))
    beat(scheduler, free=4)
    assert len(dispatches(beat(scheduler, seq=2, free=4, seen={SENDER: 1}))) == 1


def test_a_heartbeat_that_has_counted_everything_brings_its_whole_credit() -> None:
    scheduler = a_scheduler()
    admit(scheduler, *range(10))
    beat(scheduler, free=4)
    assert len(dispatches(beat(scheduler, seq=2, free=4, seen={SENDER: 4}))) == 4


def test_an_uncounted_dispatch_is_given_up_after_a_while() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, 1)
    beat(scheduler, free=1)
    assert len(dispatches(beat(scheduler, seq=2, free=1, now_s=T0_S + 31))) == 1


def test_an_older_heartbeat_changes_nothing() -> None:
    scheduler = a_scheduler()
    beat(scheduler, seq=2, free=0)
    admit(scheduler, 0)
    assert dispatches(beat(scheduler, seq=1, free=4)) == []


def test_a_stale_worker_gets_nothing() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    late_s = T0_S + 3.1
    assert dispatches(scheduler.on_request(an_arrival(0), "interactive", now_s=late_s)) == []


def test_a_stale_worker_keeps_what_it_has() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    admit(scheduler, 0)
    assert of_kind(scheduler.on_wake(now_s=T0_S + 10), Dispatch) == []
    assert scheduler.placed == 1


@pytest.mark.parametrize(
    "changes", [{"state": "draining"}, {"state": "loading"}, {"slots": ()}, {"deployment": "m@v2"}]
)
def test_workers_that_may_not_get_work_get_none(changes: dict[str, Any]) -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0)
    assert dispatches(beat(scheduler, **changes)) == []


def test_a_batch_is_filled_across_classes_in_order_of_priority_and_deadline() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, latency_class="bulk")
    admit(scheduler, 1, deadline_ms=50_000)
    admit(scheduler, 2, deadline_ms=40_000)
    admit(scheduler, 3, latency_class="realtime")
    records = dispatches(beat(scheduler))
    assert [record.id for record in records] == ["r3", "r2", "r1", "r0"]
    assert [(part.batch.index, part.batch.size) for part in records] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert len({record.batch.id for record in records}) == 1


def test_a_batch_has_a_row_with_its_reason() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, 1, 2, latency_class="bulk")
    (row,) = rows(beat(scheduler, free=2, now_s=T0_S + 0.5), BatchRow)
    assert (row.size, row.size_limit, row.queue_depth, row.reason) == (2, 2, 1, "least_occupied")
    assert (row.latency_class, row.wait_max_us, row.wait_sum_us) == ("bulk", 500_000, 1_000_000)


def test_the_least_occupied_worker_is_chosen() -> None:
    scheduler = a_scheduler()
    beat(scheduler, "busy", free=2)
    beat(scheduler, "idle", free=30, slots=(1,))
    assert [effect.slot for effect in of_kind(admit(scheduler, 0), Dispatch)] == [1]


def test_equally_occupied_workers_share_and_have_batches_of_their_own() -> None:
    scheduler = a_scheduler()
    beat(scheduler, "w1", free=0)
    admit(scheduler, *range(4))
    beat(scheduler, "w2", free=2, slots=(1,))
    records = dispatches(beat(scheduler, "w1", seq=2, free=2))
    assert [record.id for record in records] == ["r2", "r3"]


def test_a_request_that_does_not_fit_stops_the_release() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, body=a_body(max_tokens=5000), deadline_ms=1000)
    admit(scheduler, 1)
    assert dispatches(beat(scheduler, kv=1000)) == []


def test_an_empty_worker_takes_what_can_never_fit() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, body=a_body(max_tokens=5000))
    assert len(dispatches(beat(scheduler, kv=1000, running=0))) == 1


def test_a_request_with_several_choices_takes_several_sequences() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, 1, body=a_body(n=3))
    assert len(dispatches(beat(scheduler, free=4))) == 1


def test_shards_share_the_credit_of_a_worker() -> None:
    given = []
    for shard in (0, 1):
        scheduler = Scheduler(a_policy(shards=2), Identity(process="p", sender=SENDER, shard=shard), replies=REPLIES)
        admit(scheduler, *range(10))
        given.append(len(dispatches(beat(scheduler, free=5))))
    assert sorted(given) == [2, 3]


def test_numbers_count_up_per_slot() -> None:
    scheduler = a_scheduler()
    admit(scheduler, *range(4))
    effects = of_kind(beat(scheduler, slots=(0, 1)), Dispatch)
    assert sorted((effect.slot, effect.record.seq) for effect in effects) == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_a_queued_request_expires_at_its_deadline() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0, deadline_ms=500)
    assert scheduler.wake_at_s == T0_S + 0.5
    effects = scheduler.on_wake(now_s=T0_S + 0.5)
    (terminal,) = terminals(effects)
    assert isinstance(terminal, Expired)
    assert terminal.error is not None
    assert (terminal.id, terminal.attempt, terminal.error.code) == ("r0", None, "deadline_exceeded")
    assert scheduler.queued == 0


def test_nothing_is_to_be_done_while_nothing_waits() -> None:
    assert a_scheduler().wake_at_s is None


def test_what_expired_in_kafka_expires_on_arrival() -> None:
    scheduler = a_scheduler()
    beat(scheduler, now_s=T0_S + 100)
    effects = scheduler.on_request(an_arrival(0), "interactive", now_s=T0_S + 100)
    assert [type(terminal) for terminal in terminals(effects)] == [Expired]
    assert dispatches(effects) == []


def test_a_request_that_ends_here_has_its_one_row() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 5, deadline_ms=500)
    (row,) = rows(scheduler.on_wake(now_s=T0_S + 1), RequestRow)
    assert (row.lane_topic, row.lane_partition, row.lane_offset) == ("inference.requests.m.interactive", 0, 5)
    assert (row.outcome, row.final, row.produced_ts, row.finished_us) == ("expired", 1, T0_MS * 1000, 1_000_000)
    assert (row.deadline_us, row.error_code) == (500_000, "deadline_exceeded")


def test_a_full_lane_is_paused_and_resumed_a_little_below() -> None:
    scheduler = a_scheduler(limit=100)
    assert of_kind(admit(scheduler, *range(99)), PauseLane) == []
    assert of_kind(admit(scheduler, 99), PauseLane) == [PauseLane(latency_class="interactive")]
    assert of_kind(admit(scheduler, 100), PauseLane) == []
    assert of_kind(beat(scheduler, free=2), ResumeLane) == []
    assert of_kind(beat(scheduler, seq=2, free=1, seen={SENDER: 2}), ResumeLane) == [
        ResumeLane(latency_class="interactive")
    ]


def test_a_queued_request_is_cancelled_with_a_terminal_record() -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0)
    effects = scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S)
    assert [type(terminal) for terminal in terminals(effects)] == [CancelledRequest]
    assert dispatches(beat(scheduler)) == []


def test_a_dispatched_request_has_its_cancellation_forwarded_once() -> None:
    scheduler = a_scheduler()
    beat(scheduler, slots=(3,))
    admit(scheduler, 0)
    (effect,) = of_kind(scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S), Forward)
    assert (effect.slot, effect.deployment, effect.record.origin) == (
        3,
        DEPLOYMENT,
        "inference.requests.m.interactive/0/0",
    )
    assert scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S) == []


def test_a_cancellation_that_comes_first_waits_for_its_request() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S)
    effects = admit(scheduler, 0)
    assert ([type(t) for t in terminals(effects)], dispatches(effects)) == ([CancelledRequest], [])


@pytest.mark.parametrize("cancellation", [a_cancellation("r0", tenant="acme"), a_cancellation("r0", model="other")])
def test_a_cancellation_of_somebody_else_changes_nothing(cancellation: Any) -> None:
    scheduler = a_scheduler()
    admit(scheduler, 0)
    assert scheduler.on_cancel(cancellation, now_s=T0_S) == []
    assert scheduler.queued == 1


def test_a_cancellation_after_the_end_does_not_hit_the_next_request_of_that_id() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    admit(scheduler, 0)
    beat(scheduler, seq=2, seen={SENDER: 1}, finished=[a_finished("inference.requests.m.interactive/0/0")])
    scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S)
    again = scheduler.on_request(an_arrival(1, a_request("r0")), "interactive", now_s=T0_S)
    assert len(dispatches(again)) == 1


def test_finished_requests_are_forgotten() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    admit(scheduler, 0)
    beat(scheduler, seq=2, finished=[a_finished("inference.requests.m.interactive/0/0")])
    assert scheduler.placed == 0


def test_returned_work_is_dispatched_again_with_the_next_hop() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    (first,) = dispatches(admit(scheduler, 0))
    handback = a_handback(first, offset=9)
    (effect,) = of_kind(scheduler.on_return(handback, now_s=T0_S), Dispatch)
    assert (effect.record.hop, effect.record.origin, effect.record.reason) == (1, first.origin, "least_occupied")
    assert (effect.record.first_dispatched_at_ms, effect.settles) == (T0_MS + 5, handback.at)


def test_the_first_dispatch_stays_known_over_several_hops() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    (first,) = dispatches(admit(scheduler, 0))
    second = msgspec.structs.replace(first, hop=1, first_dispatched_at_ms=17)
    (effect,) = of_kind(scheduler.on_return(a_handback(second), now_s=T0_S), Dispatch)
    assert (effect.record.hop, effect.record.first_dispatched_at_ms) == (2, 17)


def test_returned_work_that_was_cancelled_ends_as_the_current_attempt() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    (first,) = dispatches(admit(scheduler, 0))
    scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S)
    (answer,) = of_kind(scheduler.on_return(a_handback(first), now_s=T0_S), Answer)
    started, terminal = answer.records
    assert isinstance(started, Started)
    assert (started.mode, started.hop, started.attempt) == ("restart", 1, terminal.attempt)
    assert (type(terminal), terminal.next_seq) == (CancelledRequest, 0)


def test_a_rollout_changes_who_gets_work() -> None:
    scheduler = a_scheduler()
    beat(scheduler, "old")
    beat(scheduler, "new", deployment="m@v2", slots=(1,))
    scheduler.on_control(Rollout(model="m", stable="m@v2"), now_s=T0_S)
    beat(scheduler, "new", seq=2, deployment="m@v2", slots=(1,))
    (record,) = dispatches(admit(scheduler, 0))
    assert record.deployment == "m@v2"


def test_a_draining_deployment_gets_no_work_and_its_model_queues() -> None:
    scheduler = a_scheduler()
    scheduler.on_control(DeploymentState(deployment=DEPLOYMENT, state="draining"), now_s=T0_S)
    beat(scheduler)
    assert dispatches(admit(scheduler, 0)) == []
    assert scheduler.queued == 1
    effects = scheduler.on_control(DeploymentState(deployment=DEPLOYMENT, state="active"), now_s=T0_S)
    assert len(dispatches(effects)) == 1


def test_deployments_that_are_gone_are_not_remembered_for_ever() -> None:
    scheduler = a_scheduler()
    for name in (DEPLOYMENT, *(f"m@w{number}" for number in range(WITHDRAWN_KEPT + 5))):
        scheduler.on_control(DeploymentState(deployment=name, state="retired"), now_s=T0_S)
    assert len(scheduler._deployments._withdrawn) == WITHDRAWN_KEPT
    beat(scheduler)
    assert [answer.records[0].error.code for answer in of_kind(admit(scheduler, 0), Answer)] == ["model_not_found"]


def deferrals(effects: list[Any]) -> list[str]:
    rows = [effect.row for effect in of_kind(effects, Trace)]
    return [row.reason for row in rows if isinstance(row, EventRow) and row.kind == "lane.deferred"]


def test_why_requests_wait_is_in_the_account() -> None:
    scheduler = a_scheduler()
    assert deferrals(admit(scheduler, 0)) == ["no_worker"]
    assert deferrals(admit(scheduler, 1)) == []
    assert deferrals(beat(scheduler, free=1)) == ["credit"]
    assert deferrals(scheduler.on_wake(now_s=T0_S + 0.5)) == []
    assert deferrals(scheduler.on_wake(now_s=T0_S + 1.0)) == ["credit"]


def test_work_that_is_handed_back_is_at_its_worker_no_more() -> None:
    scheduler = a_scheduler()
    (dispatch,) = dispatches([*beat(scheduler), *admit(scheduler, 0)])
    scheduler.on_cancel(a_cancellation("r0"), now_s=T0_S)
    residents = scheduler._controller._residents  # type: ignore[attr-defined]  # it batches continuously
    assert len(residents) == 1
    scheduler.on_return(a_handback(dispatch), now_s=T0_S)
    assert len(residents) == 0


def rejection(scheduler: Any, arrival: Any) -> Any:
    (answer,) = of_kind(scheduler.on_request(arrival, "interactive", now_s=T0_S), Answer)
    (record,) = answer.records
    assert isinstance(record, Rejected)
    assert answer.settles == arrival.at
    return answer


@pytest.mark.parametrize(
    ("request_of", "code", "param"),
    [
        (lambda: a_request("r", body=msgspec.Raw(b'{"x": 1}')), "unknown_endpoint", "body"),
        (lambda: a_request("r", body=a_body(temperature=9)), "invalid_request", "body.temperature"),
        (lambda: a_request("r", deadline_ms=90_000_000), "invalid_deadline", "deadline_ms"),
        (lambda: a_request("r", reply=ReplyTo(topic="inference.dlq", partition=0)), "invalid_reply", "reply.topic"),
        (
            lambda: a_request("r", reply=ReplyTo(topic="inference.responses.b", partition=0)),
            "invalid_reply",
            "reply.topic",
        ),
        (
            lambda: a_request("r", reply=ReplyTo(topic="inference.responses.acme", partition=2)),
            "invalid_reply",
            "reply.partition",
        ),
        (lambda: decode_request(b'{"id": "r", "body": {}, "deadline_ms": 0}'), "invalid_deadline", "deadline_ms"),
    ],
)
def test_requests_that_cannot_be_served_are_rejected_with_the_reason(request_of: Any, code: str, param: str) -> None:
    answer = rejection(a_scheduler(), an_arrival(0, request_of()))
    assert (answer.records[0].id, answer.records[0].error.code, answer.records[0].error.param) == ("r", code, param)
    assert answer.reply == ReplyTo(topic=names.RESPONSES, partition=names.reply_partition("r", 8))


def test_a_rejection_goes_where_the_sender_listens() -> None:
    reply = ReplyTo(topic="inference.responses.acme", partition=1)
    answer = rejection(a_scheduler(), an_arrival(0, a_request("r", body=a_body(n=0), reply=reply)))
    assert answer.reply == reply


def test_a_malformed_request_is_answered_as_far_as_it_can_be_read() -> None:
    value = (
        b'{"id": "r", "tenant": "acme", "reply": {"topic": "inference.responses", "partition": 5}, "body": 1, "v": "x"}'
    )
    answer = rejection(a_scheduler(), an_arrival(0, decode_request(value)))
    assert (answer.records[0].id, answer.reply.partition) == ("r", 5)


def test_a_model_without_a_deployment_rejects() -> None:
    answer = rejection(a_scheduler(stable=None), an_arrival(0))
    assert answer.records[0].error.code == "model_not_found"


def test_an_id_is_made_of_the_address_where_none_is_given() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    (record,) = dispatches(scheduler.on_request(an_arrival(4, a_request()), "interactive", now_s=T0_S))
    assert record.id == "inference.requests.m.interactive-0-4"


def test_admission_and_dispatch_are_traced() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    kinds = [row.kind for row in rows(admit(scheduler, 0), EventRow)]
    assert kinds == ["request.admitted", "request.dispatched"]


def test_a_stopped_worker_is_gone_at_once() -> None:
    scheduler = a_scheduler()
    beat(scheduler)
    beat(scheduler, seq=2, state="stopped")
    assert dispatches(admit(scheduler, 0)) == []


def test_a_new_run_of_a_worker_counts_from_one_again() -> None:
    scheduler = a_scheduler()
    beat(scheduler, seq=50, free=0)
    admit(scheduler, 0)
    fresh = a_heartbeat(seq=1, run="run2", at_ms=T0_MS + 1000)
    assert len(dispatches(scheduler.on_heartbeat(fresh, at_ms=T0_MS, now_s=T0_S))) == 1


def test_limits_of_nothing_do_no_harm() -> None:
    scheduler = a_scheduler()
    nothing = Limits(max_sequences=0, max_kv_tokens=0, max_batch_tokens=0, max_context_tokens=0)
    admit(scheduler, 0)
    assert dispatches(beat(scheduler, limits=nothing, credits=Credits(free_sequences=0, free_kv_tokens=0))) == []


def test_a_class_that_yields_leaves_an_eighth_of_a_worker_to_the_others() -> None:
    classes = {
        "interactive": ClassPolicy(priority=1, deadline_ms=60_000, queue_limit=100),
        "bulk": ClassPolicy(priority=3, deadline_ms=86_400_000, queue_limit=100, yields=True),
    }
    scheduler = a_scheduler(classes=classes)
    beat(scheduler, free=6)

    taken = of_kind(admit(scheduler, *range(10), latency_class="bulk"), Dispatch)
    assert len(taken) == 2  # of 32 sequences 4 are the reserve

    urgent = of_kind(admit(scheduler, 50, 51, latency_class="interactive"), Dispatch)
    assert len(urgent) == 2


def test_it_knows_requests_that_wait_that_run_and_that_have_ended() -> None:
    scheduler = a_scheduler()
    key = ("default", "r0")
    assert not scheduler.knows(key)
    admit(scheduler, 0)
    known = [scheduler.knows(key)]
    beat(scheduler)
    known.append(scheduler.knows(key))
    beat(scheduler, seq=2, finished=[a_finished("inference.requests.m.interactive/0/0")])
    assert [*known, scheduler.knows(key), scheduler.knows(("acme", "r0"))] == [True, True, True, False]
