"""Who is released, refused and dropped in front of engines that batch continuously."""

from typing import Any

import pytest

from processors.batching.by_deployment import DEPLOYMENTS_KEPT
from processors.batching.continuous import WAKE_S
from processors.batching.deferrals import DEFERRAL_S
from processors.policy import TenantPolicy
from tests.unit.batching.builders import DEPLOYMENT, SENDER, Desk, a_sample, by_worker, released
from topics.fleet import Credits, Limits, Slot, StepSample


def test_without_samples_everything_goes_out_that_there_is_credit_for() -> None:
    desk = Desk()
    desk.beat(free=5)
    desk.queue(8)
    assert len(released(desk.decide())) == 5


def test_steps_of_no_time_throttle_nothing() -> None:
    desk = Desk()
    zero = StepSample(duration_us=0, decoding=1, kv_tokens=1, prefill_tokens=1)
    for _ in range(100):
        desk.beat(samples=[zero] * 8)
    tickets = desk.queue(200)
    assert desk.controller.refuse(desk.ticket(), now_s=desk.now_s) is None
    assert len(released(desk.decide())) == len(tickets)


def test_prompts_beyond_the_budget_of_a_step_stay_in_the_lane() -> None:
    desk = Desk(learned=400)
    desk.queue(20, prompt=500)
    decision = desk.decide()
    assert 1 <= len(released(decision)) <= 5
    assert decision.wake_at_s == desk.now_s + WAKE_S
    assert decision.deferral is not None
    assert decision.deferral.why.reason == "prompt_budget"


def test_answers_in_progress_bound_what_comes_after_them() -> None:
    desk = Desk(learned=400)
    desk.beat(
        running=250, free=6, samples=[StepSample(duration_us=25_000, decoding=250, kv_tokens=120_000, prefill_tokens=0)]
    )
    desk.queue(3, prompt=600)
    decision = desk.decide()
    assert released(decision) == []
    assert decision.deferral is not None
    assert decision.deferral.why.reason == "concurrency"


def test_who_waits_for_credit_is_told_of_once_a_second() -> None:
    desk = Desk(learned=400)
    desk.beat(running=256, free=0)
    desk.queue(2, target_s=5.0)
    first = desk.decide().deferral
    assert first is not None
    assert (first.why.reason, first.queued, first.has_room) == ("credit", 2, False)
    assert {"predicted_ttft_s", "slack_s", "sequences", "queue_ahead_tokens"} == set(first.why.figures)
    desk.now_s += DEFERRAL_S / 2
    desk.beat(running=256, free=0)
    assert desk.decide().deferral is None
    desk.now_s += DEFERRAL_S / 2
    desk.beat(running=256, free=0)
    assert desk.decide().deferral is not None


def test_each_reason_to_wait_is_told_of() -> None:
    desk = Desk(learned=400)
    reasons = []
    for free in (0, 6):
        desk.beat(running=256 - free, free=free)
        desk.queue(target_s=5.0)
        deferral = desk.decide().deferral
        reasons.append(deferral.why.reason if deferral else "")
    assert reasons == ["credit", "concurrency"]


def test_who_waits_for_a_worker_is_told_of() -> None:
    desk = Desk(learned=400)
    desk.now_s += 10
    desk.queue()
    deferral = desk.decide().deferral
    assert deferral is not None
    assert (deferral.why.reason, deferral.why.figures["workers"]) == ("no_worker", 0)
    assert desk.decide().deferral is None


def test_the_reason_and_its_figures_travel_with_each_request() -> None:
    desk = Desk(learned=400)
    desk.beat("w1")
    desk.queue()
    [batch] = desk.decide().batches
    why = batch.parts[0].why
    assert why.reason == "soonest_first_token"
    assert {"predicted_ttft_s", "slack_s", "free_sequences", "queue_ahead_tokens"} <= set(why.figures)
    assert 0 < why.figures["predicted_ttft_s"] < 0.2


def test_requests_are_spread_by_predicted_first_token() -> None:
    desk = Desk(learned=400)
    desk.beat("w1")
    desk.queue(4, prompt=700)
    assert by_worker(desk.decide()) == {"w0": 2, "w1": 2}


def test_a_prompt_larger_than_every_budget_runs_on_an_empty_worker() -> None:
    desk = Desk(learned=400)
    [ticket] = desk.queue(prompt=90_000, latency_class="batchy")
    assert released(desk.decide()) == [ticket.id]


def test_more_choices_than_a_worker_may_hold_run_on_an_empty_worker() -> None:
    desk = Desk(learned=400)
    [ticket] = desk.queue(sequences=250, answer=10)
    assert released(desk.decide()) == [ticket.id]


def test_a_request_that_cannot_make_it_any_more_is_dropped() -> None:
    desk = Desk(learned=400)
    desk.beat(running=250, free=6)
    desk.queue()
    desk.now_s += 0.99
    [dropped] = desk.decide().dropped
    assert dropped.why.reason == "predicted_late"
    assert dropped.why.figures["predicted_ttft_s"] > dropped.why.figures["slack_s"]


def test_one_that_waits_alone_for_an_idle_worker_is_served_late() -> None:
    desk = Desk(learned=400)
    [ticket] = desk.queue()
    desk.now_s += 30
    desk.beat()
    decision = desk.decide()
    assert decision.dropped == []
    assert released(decision) == [ticket.id]


def test_those_that_are_late_together_are_dropped_but_for_the_last() -> None:
    desk = Desk(learned=400)
    tickets = desk.queue(5)
    desk.now_s += 30
    desk.beat()
    decision = desk.decide()
    assert [each.ticket.id for each in decision.dropped] == [ticket.id for ticket in tickets[:-1]]
    assert released(decision) == [tickets[-1].id]


@pytest.mark.parametrize("fields", [{"latency_class": "bulk"}, {"may_be_shed": False, "hop": 1}])
def test_what_may_not_be_shed_never_is(fields: dict[str, Any]) -> None:
    desk = Desk(learned=400)
    desk.beat(running=250, free=0)
    desk.queue(target_s=0.01, **fields)
    desk.now_s += 1
    assert desk.decide().dropped == []


def test_a_target_that_no_engine_can_meet_is_no_refusal_of_service() -> None:
    desk = Desk(learned=400)
    ticket = desk.ticket(prompt=90_000)
    assert desk.controller.refuse(ticket, now_s=desk.now_s) is None
    desk.queues.add(ticket)
    desk.controller.on_queued(ticket, now_s=desk.now_s)
    assert released(desk.decide()) == [ticket.id]


def busy(desk: Desk) -> None:
    desk.beat(
        running=250,
        free=6,
        credits=Credits(free_sequences=6, free_kv_tokens=200_000, prefill_backlog_tokens=2000),
        samples=[StepSample(duration_us=25_000, decoding=250, kv_tokens=150_000, prefill_tokens=0)],
    )


def test_a_request_behind_too_long_a_queue_is_refused_at_once() -> None:
    desk = Desk(learned=400)
    busy(desk)
    desk.queue(200)
    refused = desk.controller.refuse(desk.ticket(), now_s=desk.now_s)
    assert refused is not None
    assert refused.why.reason == "predicted_late"
    assert refused.retry_after_s == pytest.approx(refused.why.figures["predicted_wait_s"], rel=0.01)
    assert refused.why.figures["queue_ahead_requests"] == 200


def a_desk_after(late: int) -> Desk:
    """Others were let in and are dropped, all but the last: it is served late, because it waits alone."""
    desk = Desk(learned=400)
    desk.queue(late, target_s=0.5)
    desk.now_s += 1
    assert len(desk.decide().dropped) == max(0, late - 1)
    return desk


def let_in_after(late: int) -> int:
    """How many may wait at a busy worker."""
    desk = a_desk_after(late)
    busy(desk)
    return next(count for count in range(200) if not is_let_in(desk))


def is_let_in(desk: Desk) -> bool:
    ticket = desk.ticket()
    refused = desk.controller.refuse(ticket, now_s=desk.now_s)
    if refused is None:
        desk.queues.add(ticket)
        desk.controller.on_queued(ticket, now_s=desk.now_s)
    return refused is None


def test_where_those_who_were_let_in_came_late_fewer_are_let_in() -> None:
    assert let_in_after(late=0) > let_in_after(late=10) > let_in_after(late=20) > 0


def test_nobody_who_finds_an_idle_worker_is_refused_for_those_who_were_late() -> None:
    desk = a_desk_after(late=100)
    desk.now_s += 60
    desk.beat(run="2")
    assert is_let_in(desk)


def test_who_is_answered_late_counts_as_who_is_dropped() -> None:
    desk = Desk(learned=400)
    [ticket] = desk.queue(target_s=0.01)
    assert released(desk.decide()) == [ticket.id]
    busy(desk)
    desk.finish(ticket)
    desk.queue(200)
    refused = desk.controller.refuse(desk.ticket(), now_s=desk.now_s)
    assert refused is not None
    assert refused.why.figures["margin_s"] > 0


def test_nobody_is_refused_before_enough_was_learned() -> None:
    desk = Desk(learned=40)
    busy(desk)
    desk.queue(200)
    assert desk.controller.refuse(desk.ticket(), now_s=desk.now_s) is None


def test_nobody_is_refused_where_no_worker_could_serve() -> None:
    desk = Desk(learned=400)
    busy(desk)
    desk.queue(200)
    desk.now_s += 10
    assert desk.controller.refuse(desk.ticket(), now_s=desk.now_s) is None


def test_a_light_tenant_is_not_refused_for_the_queue_of_a_heavy_one() -> None:
    desk = Desk(learned=400)
    busy(desk)
    desk.queue(200, tenant="heavy")
    assert desk.controller.refuse(desk.ticket(tenant="heavy"), now_s=desk.now_s) is not None
    assert desk.controller.refuse(desk.ticket(tenant="light"), now_s=desk.now_s) is None


def test_a_silent_worker_gets_nothing() -> None:
    desk = Desk(learned=400)
    desk.queue()
    desk.now_s += 3.1
    assert released(desk.decide()) == []


def test_work_that_yields_leaves_a_reserve_while_urgent_work_comes() -> None:
    desk = Desk(learned=400)
    desk.queue(1, prompt=16)
    desk.decide()
    desk.queue(400, latency_class="bulk", prompt=1)
    with_urgent = len(released(desk.decide()))
    lonely = Desk(learned=400)
    lonely.queue(400, latency_class="bulk", prompt=1)
    assert 0 < with_urgent < len(released(lonely.decide()))


def test_urgent_work_goes_before_work_that_yields() -> None:
    desk = Desk(learned=400)
    desk.queue(3, latency_class="bulk", prompt=2000)
    [urgent] = desk.queue(1, prompt=2000)
    assert released(desk.decide())[0] == urgent.id


def test_a_prompt_goes_where_its_beginning_is_cached() -> None:
    desk = Desk(learned=400)
    desk.beat("w1", prefixes=[11, 12, 13])
    [ticket] = desk.queue(prompt=1000, prefixes=(11, 12, 13, 99))
    [batch] = desk.decide().batches
    assert batch.worker.name == "w1"
    assert batch.parts[0].why.reason == "prefix_cached"
    assert batch.parts[0].why.figures["cached_tokens"] == 384
    assert batch.parts[0].ticket is ticket


def test_what_was_just_sent_counts_as_cached_until_a_digest_says_otherwise() -> None:
    desk = Desk(learned=400)
    desk.beat("w1")
    desk.queue(prompt=1000, prefixes=(11, 12))
    [first] = [batch.worker.name for batch in desk.decide().batches]
    desk.beat(first, running=1, slots=[Slot(partition=int(first[1:]), term=0, seen={SENDER: 1})])
    desk.queue(prompt=300, prefixes=(11, 12))
    [second] = [batch.worker.name for batch in desk.decide().batches]
    assert second == first
    desk.now_s += 2
    desk.beat("w0", prefixes=[5])
    desk.beat("w1", prefixes=[5])
    desk.queue(prompt=300, prefixes=(11, 12))
    [batch] = desk.decide().batches
    assert batch.parts[0].why.figures["cached_tokens"] == 0


def test_slow_answers_shrink_the_credit_of_their_class() -> None:
    desk = Desk(learned=400)
    before = desk.controller.view("interactive", now_s=desk.now_s).size_limit
    for _ in range(200):
        desk.now_s += 0.1
        desk.beat()
        desk.finish(desk.ticket(), token_s=0.06)
    desk.now_s += 0.1
    desk.beat()
    desk.decide()
    assert desk.controller.view("interactive", now_s=desk.now_s).size_limit < before


def test_shards_share_a_prompt_budget() -> None:
    given = 0
    for shard in (0, 1):
        desk = Desk(shard=shard, shards=2, learned=400)
        desk.beat(running=1, credits=Credits(free_sequences=255, free_kv_tokens=400_000, prefill_backlog_tokens=16))
        desk.queue(40, prompt=100)
        given += 100 * len(released(desk.decide()))
    assert 0 < given <= 2048


def test_a_new_owner_of_a_slot_does_not_inherit_what_is_over() -> None:
    desk = Desk()
    desk.beat(free=5)
    desk.queue(5)
    desk.decide()
    desk.now_s += 10
    desk.beat("w1", free=5, slots=[Slot(partition=0, term=7)])
    desk.now_s += 2.5
    desk.beat("w1", free=5, slots=[Slot(partition=0, term=7)])
    desk.queue(5)
    assert len(released(desk.decide())) == 5


def test_a_worker_that_lost_its_slot_gets_nothing_through_it() -> None:
    desk = Desk()
    desk.beat("w0", free=5)
    desk.beat("w1", free=5, slots=[Slot(partition=0, term=7)])
    desk.queue(8)
    assert by_worker(desk.decide()) == {"w1": 5}


def test_the_view_shows_load_over_service_rate() -> None:
    desk = Desk(learned=400)
    for _ in range(100):
        desk.now_s += 0.01
        desk.queue()
    desk.beat()
    view = desk.controller.view("interactive", now_s=desk.now_s)
    assert view.arrivals_per_s > 10
    assert view.size_limit > 50
    assert view.saturation > 0


def test_what_was_learned_of_the_steps_is_told() -> None:
    desk = Desk()
    assert desk.controller.learned() is None
    desk.learn(400)
    told = desk.controller.learned()
    assert told is not None
    assert (told.deployment, told.samples, told.safety) == (DEPLOYMENT, 450, 1.0)
    assert told.shape_us == pytest.approx(
        {"step": 10_000, "sequence": 20, "kv_token": 0.05, "prompt_token": 40}, rel=0.1
    )
    assert told.scale == pytest.approx(1.0, abs=0.02)
    assert told.error_ratio < 0.05


def test_workers_that_can_serve_nothing_are_saturated() -> None:
    desk = Desk(learned=400)
    nothing = Limits(max_sequences=256, max_kv_tokens=0, max_batch_tokens=2048, max_context_tokens=100_000)
    desk.beat(limits=nothing)
    assert desk.controller.view("interactive", now_s=desk.now_s).saturation == 0.0
    desk.queue()
    assert desk.controller.view("interactive", now_s=desk.now_s).saturation > 1


def test_what_is_handed_back_makes_room_at_once() -> None:
    desk = Desk(learned=400)
    [first] = desk.queue()
    desk.decide()
    assert len(desk.controller._residents) == 1
    desk.controller.on_returned(first)
    assert len(desk.controller._residents) == 0


def test_the_model_of_the_deployment_that_serves_is_never_forgotten() -> None:
    desk = Desk(learned=400)
    for number in range(3 * DEPLOYMENTS_KEPT):
        desk.beat("w1", deployment=f"m@w{number}", samples=[a_sample(number)])
    assert len(desk.controller._models) == DEPLOYMENTS_KEPT
    desk.beat()
    assert desk.controller.view("interactive", now_s=desk.now_s).size_limit > 0


def test_a_tenant_that_had_less_goes_first() -> None:
    desk = Desk(learned=400, tenants={"a": TenantPolicy(), "b": TenantPolicy()})
    desk.queue(2, tenant="a", prompt=100)
    [late] = desk.queue(1, tenant="b", prompt=100)
    desk.queues.counters["interactive"].charge("a", 10_000)
    assert released(desk.decide())[0] == late.id
