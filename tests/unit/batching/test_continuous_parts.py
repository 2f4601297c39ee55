"""The parts of continuous batching, each alone."""

import pytest

from processors.batching.class_mix import FIRST_ANSWER_TOKENS, FIRST_PROMPT_TOKENS, ClassMix
from processors.batching.concurrency import MAX_SHARE, MIN_SHARE, PromiseShare, most_sequences
from processors.batching.prefix_mirror import MIRRORED_PROMPTS, PrefixMirrors
from processors.batching.promises import promises_of
from processors.batching.residents import SLOTS_KEPT, Residents
from processors.batching.service_rate import ServiceRate
from processors.batching.steps import StepCost
from processors.batching.time_to_first_token import MIN_PROMPT_TOKENS, first_token_s, prompt_budget_tokens
from processors.policy import ClassPolicy
from processors.queueing.ticket import Demand
from processors.routing.fleet import LOGS_KEPT, Fleet
from processors.routing.slot_log import SETTLED_AFTER_S, UNSEEN_AFTER_S, SlotLog
from processors.routing.worker import Worker
from tests.unit.processors.builders import a_heartbeat
from topics.fleet import Slot
from topics.prefixes import MAX_BLOCKS

COST = StepCost(0.010, 2e-5, 5e-8, 4e-5)
ONE = Demand(1, 100, 200)


def test_concurrency_is_where_a_step_takes_the_promised_time() -> None:
    n = most_sequences(COST, token_s=0.05, prompt_tokens=600, answer_tokens=200)
    step_s = COST.duration_s(n, n * 700, n * 3)
    assert step_s == pytest.approx(0.05, rel=0.01)
    assert step_s <= 0.05


def test_a_promise_that_no_engine_keeps_still_allows_one_answer() -> None:
    assert most_sequences(COST, token_s=0.001, prompt_tokens=600, answer_tokens=200) == 1


def test_the_share_falls_fast_rises_slowly_and_stays_within_its_bounds() -> None:
    share = PromiseShare(0.05)
    for number in range(2000):
        share.observe(0.06, now_s=number * 0.06)
    assert share.value == MIN_SHARE
    for number in range(40_000):
        share.observe(0.03, now_s=200 + number * 0.06)
    assert share.value == MAX_SHARE


def test_the_share_moves_once_a_second_and_not_for_few_answers() -> None:
    share = PromiseShare(0.05)
    for number in range(19):
        share.observe(0.06, now_s=number)
    assert share.value == 1.0
    share.observe(0.06, now_s=19.0)
    assert share.value == pytest.approx(0.95)


def test_the_first_token_waits_for_every_step_that_its_prompt_fills() -> None:
    def after(prompt_tokens: int) -> float:
        return first_token_s(
            COST, step_s=0.02, sequences=48, prompt_tokens=prompt_tokens, step_limit_tokens=2048, hop_s=0.003
        )

    assert after(100) == pytest.approx(0.006 + 1.3 * (0.03 + 100 * 4e-5))
    assert after(2001) - after(2000) == pytest.approx(1.3 * (0.02 + 4e-5))


def test_the_prompt_budget_is_what_a_step_may_take_longer() -> None:
    budget = prompt_budget_tokens(COST, step_s=0.02, token_s=0.05, step_limit_tokens=8192)
    assert budget == pytest.approx((0.075 - 0.02) / 4e-5)
    assert prompt_budget_tokens(COST, step_s=0.2, token_s=0.05, step_limit_tokens=8192) == MIN_PROMPT_TOKENS
    assert prompt_budget_tokens(COST, step_s=0.02, token_s=None, step_limit_tokens=8192) == 16_384


def test_the_service_rate_counts_backlogged_time_only() -> None:
    rate = ServiceRate()
    now_s = 100.0
    for _ in range(300):
        now_s += 0.02
        rate.elapse(now_s)
        rate.decided(released=2, is_backlogged=True)
    rate.decided(released=0, is_backlogged=False)
    now_s += 200
    rate.elapse(now_s)
    rate.decided(released=0, is_backlogged=True)
    for _ in range(300):
        now_s += 0.02
        rate.elapse(now_s)
        rate.decided(released=2, is_backlogged=True)
    assert rate.per_s == pytest.approx(100, rel=0.1)


def test_time_that_goes_back_is_not_counted_twice() -> None:
    rate = ServiceRate()
    rate.decided(released=0, is_backlogged=True)
    steady = ServiceRate()
    steady.decided(released=0, is_backlogged=True)
    for number in range(1, 101):
        for each, times_s in ((rate, (0.1, 0.02, 0.1)), (steady, (0.1,))):
            for after_s in times_s:
                each.elapse(number * 0.1 - 0.1 + after_s)
            each.decided(released=1, is_backlogged=True)
    assert steady.per_s is not None
    assert rate.per_s == pytest.approx(steady.per_s)


def test_no_rate_is_known_while_nothing_is_released() -> None:
    rate = ServiceRate()
    rate.elapse(100.0)
    rate.decided(released=0, is_backlogged=True)
    rate.elapse(104.0)
    assert rate.per_s is None


def test_the_mix_weighs_classes_by_how_often_they_come() -> None:
    mix = ClassMix(2)
    for number in range(1000):
        mix.traffic[0].arrived(100, now_s=number * 0.01)
        mix.traffic[0].answered(50)
    prompt, answer = mix.means(10.0)
    assert prompt == pytest.approx(100, abs=1)
    assert answer == pytest.approx(50, abs=1)
    assert mix.traffic[0].per_s(10.0) == pytest.approx(100, rel=0.2)
    assert mix.traffic[1].per_s(10.0) == 0.0


def test_what_comes_outweighs_soon_what_was_assumed() -> None:
    mix = ClassMix(1)
    for _ in range(20):
        mix.traffic[0].arrived(48, now_s=1.0)
        mix.traffic[0].answered(16)
    prompt, answer = mix.means(1.0)
    assert prompt == pytest.approx((5 * FIRST_PROMPT_TOKENS + 20 * 48) / 25)
    assert answer == pytest.approx((5 * FIRST_ANSWER_TOKENS + 20 * 16) / 25)


def test_a_class_leaves_a_reserve_to_those_that_cannot_wait() -> None:
    def rules(ttft_ms: int, *, yields: bool = False) -> ClassPolicy:
        return ClassPolicy(priority=0, deadline_ms=86_400_000, queue_limit=1, ttft_ms=ttft_ms, yields=yields)

    classes = [("r", rules(400)), ("i", rules(1000)), ("s", rules(5000)), ("b", rules(1000, yields=True))]
    assert [promise.leaves_to for promise in promises_of(classes)] == [(), (), (0, 1), (0, 1, 2)]


def a_worker(*, seq: int = 1, run: str = "1", prefixes: tuple[int, ...] = (), at_s: float = 0.0) -> Worker:
    return Worker(a_heartbeat(seq=seq, run=run, prefixes=list(prefixes)), at_s)


def test_residents_follow_their_slot_and_are_bounded() -> None:
    residents = Residents(2, limit=3)
    worker = a_worker()
    for number in range(5):
        residents.add(f"t/0/{number}", deployment="m@v1", slot=0, rank=number % 2, due_in_s=1.0)
    assert len(residents) == 3
    assert sum(residents.of(worker)) == 3
    residents.remove("t/0/4")
    residents.remove("t/0/4")
    assert sum(residents.of(worker)) == 2


def test_a_request_that_is_dispatched_again_lives_in_one_place() -> None:
    residents = Residents(1)
    residents.add("o", deployment="m@v1", slot=0, rank=0, due_in_s=1.0)
    residents.add("o", deployment="m@v1", slot=1, rank=0, due_in_s=1.0)
    assert residents.of(a_worker()) == [0]


def test_slots_without_requests_are_forgotten() -> None:
    residents = Residents(1)
    residents.add("stays", deployment="m@v1", slot=0, rank=0, due_in_s=1.0)
    for number in range(3 * SLOTS_KEPT):
        residents.add("o", deployment=f"m@w{number}", slot=0, rank=0, due_in_s=1.0)
    assert residents.slots <= SLOTS_KEPT
    assert residents.of(a_worker()) == [1]


def test_a_mirror_keeps_the_last_prompts() -> None:
    mirrors = PrefixMirrors()
    worker = a_worker()
    for number in range(MIRRORED_PROMPTS * MAX_BLOCKS + 5):
        mirrors.sent(worker, (number,), now_s=0.0)
    assert len(mirrors.of(worker.name)) == MIRRORED_PROMPTS * MAX_BLOCKS
    assert 0 not in mirrors.of(worker.name)


def test_a_mirror_begins_again_with_a_new_run() -> None:
    mirrors = PrefixMirrors()
    mirrors.sent(a_worker(), (1,), now_s=0.0)
    mirrors.observe(a_worker(run="2", prefixes=(7,)))
    assert set(mirrors.of("w1")) == {7}


def test_a_complete_digest_corrects_what_was_thought_to_be_cached() -> None:
    mirrors = PrefixMirrors()
    mirrors.sent(a_worker(), (1,), now_s=0.0)
    mirrors.sent(a_worker(), (2,), now_s=9.5)
    mirrors.observe(a_worker(prefixes=(7,), at_s=10.0))
    assert set(mirrors.of("w1")) == {2, 7}
    assert mirrors.is_known((7, 8))
    assert not mirrors.is_known((8, 9))


def seen(term: int, seq: int = 0) -> Slot:
    return Slot(partition=0, term=term, seen={"s": seq} if seq else {})


def test_slots_of_deployments_without_workers_are_forgotten_but_no_number_is_given_twice() -> None:
    fleet = Fleet(sender="s")
    for number in range(2 * LOGS_KEPT):
        at_s = 1000.0 * number
        beat = a_heartbeat(deployment=f"m@w{number % (LOGS_KEPT + 7)}", seq=number + 1)
        fleet.observe(beat, at_s=at_s, now_s=at_s)
        placed = fleet.place(fleet.workers["w1"], ONE, now_s=at_s)
        assert placed.seq >= 1 + number // (LOGS_KEPT + 7)
    assert len(fleet._logs) <= LOGS_KEPT


def test_what_a_heartbeat_counts_is_not_counted_twice() -> None:
    log = SlotLog()
    log.count(seen(0), sender="s", at_s=0.0, now_s=0.0)
    for _ in range(3):
        log.add(ONE, prompt_tokens=100, now_s=1.0)
    log.count(seen(0, 2), sender="s", at_s=1.1, now_s=1.1)
    assert (len(log), log.sequences, log.prompt_tokens, log.kv_tokens) == (1, 1, 100, 200)


def test_what_nobody_counts_for_long_is_over() -> None:
    log = SlotLog()
    log.count(seen(0), sender="s", at_s=0.0, now_s=0.0)
    log.add(ONE, prompt_tokens=100, now_s=0.0)
    log.count(seen(0), sender="s", at_s=UNSEEN_AFTER_S, now_s=UNSEEN_AFTER_S)
    assert log.sequences == 1
    log.count(seen(0), sender="s", at_s=UNSEEN_AFTER_S + 1, now_s=UNSEEN_AFTER_S + 1)
    assert log.sequences == 0


def test_a_new_owner_has_a_moment_to_read_what_its_slot_holds() -> None:
    log = SlotLog()
    log.count(seen(0), sender="s", at_s=0.0, now_s=0.0)
    log.add(ONE, prompt_tokens=100, now_s=1.0)
    log.count(seen(5), sender="s", at_s=4.0, now_s=4.0)
    log.add(ONE, prompt_tokens=100, now_s=4.5)
    assert log.sequences == 2
    settled_s = 4.0 + SETTLED_AFTER_S
    log.count(seen(5), sender="s", at_s=settled_s, now_s=settled_s)
    assert log.sequences == 1
