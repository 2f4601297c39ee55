from tests.unit.batching.rtc_builders import BASE_S, T0_S, Pool, a_ticket, service_s, sizes_of

SIZE = 15
"""Of a batch that nothing bounds further while the load is low."""


def busy(pool: Pool, *, size: int = SIZE) -> None:
    """One batch on each worker, sent at `T0_S`."""
    count = len(pool.fleet.workers)
    for turn in range(count):
        pool.queue(*(a_ticket(10_000 + 100 * turn + index, due_in_s=5.0) for index in range(size)))
        assert sizes_of(pool.decide()) == [size]


def test_a_single_request_goes_to_an_idle_worker_at_once() -> None:
    pool = Pool("w1", "w2")
    pool.queue(a_ticket(1))

    decision = pool.decide()

    assert sizes_of(decision) == [1]
    assert decision.batches[0].why.reason == "worker_idle"
    assert abs(decision.batches[0].why.figures["service_s"] - service_s(1)) < 0.0005


def test_nothing_is_sent_behind_a_running_batch_before_it_is_about_to_end() -> None:
    pool = Pool("w1")
    busy(pool)
    pool.queue(a_ticket(1))

    early = pool.decide(T0_S + 0.001)

    assert early.batches == []
    assert early.wake_at_s is not None
    assert abs(early.wake_at_s - (T0_S + 0.002 + service_s(SIZE) - 0.003)) < 0.001


def test_the_next_batch_leaves_one_hop_before_the_worker_is_free() -> None:
    pool = Pool("w1")
    busy(pool)
    pool.queue(a_ticket(1, due_in_s=0.2))
    wake_at_s = pool.decide(T0_S + 0.001).wake_at_s
    assert wake_at_s is not None

    decision = pool.decide(wake_at_s)

    assert sizes_of(decision) == [1]
    assert decision.batches[0].why.reason == "worker_frees_soon"


def test_a_worker_never_has_more_than_one_batch_behind_the_running_one() -> None:
    pool = Pool("w1")
    busy(pool)
    pool.queue(a_ticket(1, due_in_s=0.2))
    pool.decide(T0_S + 0.0165)
    pool.queue(a_ticket(2, due_in_s=0.2))

    decision = pool.decide(T0_S + 0.018)

    assert decision.batches == []
    assert decision.wake_at_s is None


def test_a_batch_that_is_handed_back_makes_room_for_another() -> None:
    pool = Pool("w1")
    busy(pool)
    second = a_ticket(1, due_in_s=0.2)
    pool.queue(second)
    assert sizes_of(pool.decide(T0_S + 0.0165)) == [1]
    pool.queue(a_ticket(2, due_in_s=0.2))

    pool.controller.on_returned(second)
    pool.beat("w1", now_s=T0_S + 0.0165, running=SIZE)

    assert sizes_of(pool.decide(T0_S + 0.018)) == [1]


def test_who_waits_for_busy_workers_is_told_of_once_a_second() -> None:
    pool = Pool("w1")
    busy(pool)
    pool.queue(a_ticket(1, due_in_s=9.0))

    deferral = pool.decide(T0_S + 0.001).deferral

    assert deferral is not None
    assert (deferral.why.reason, deferral.queued, deferral.has_room) == ("workers_busy", 1, False)
    assert abs(deferral.why.figures["until_in_s"] - (service_s(SIZE) - 0.002)) < 0.001
    pool.beat("w1", now_s=T0_S + 0.002, running=SIZE)
    assert pool.decide(T0_S + 0.002).deferral is None


def test_who_waits_for_any_worker_is_told_of() -> None:
    pool = Pool()
    pool.queue(a_ticket(1))

    deferral = pool.decide().deferral

    assert deferral is not None
    assert deferral.why.reason == "no_worker"


def test_nothing_is_piled_behind_a_straggler() -> None:
    pool = Pool("w1")
    busy(pool)
    pool.queue(a_ticket(1, due_in_s=5.0))

    assert pool.decide(T0_S + 0.040).batches == []


def test_a_straggler_that_ends_gets_work_again() -> None:
    pool = Pool("w1")
    busy(pool)
    pool.queue(a_ticket(1, due_in_s=5.0))
    pool.finish("w1", now_s=T0_S + 0.2, factor=10.0)

    assert sizes_of(pool.decide(T0_S + 0.2)) == [1]


def test_a_request_that_cannot_make_it_is_dropped_with_its_figures() -> None:
    pool = Pool("w1")
    pool.queue(a_ticket(1, due_in_s=0.006), a_ticket(2, due_in_s=0.060))

    decision = pool.decide()

    assert [dropped.ticket.id for dropped in decision.dropped] == ["r1"]
    assert decision.dropped[0].why.reason == "predicted_late"
    assert decision.dropped[0].why.figures["slack_s"] < service_s(1)
    assert sizes_of(decision) == [1]


def test_one_that_waits_alone_for_an_idle_worker_is_served_late() -> None:
    pool = Pool("w1")
    pool.queue(a_ticket(1, due_in_s=0.001))

    decision = pool.decide()

    assert decision.dropped == []
    assert sizes_of(decision) == [1]


def test_one_that_may_not_be_shed_is_never_dropped_and_binds_nobody() -> None:
    pool = Pool("w1")
    pool.queue(a_ticket(1, due_in_s=0.001, may_be_shed=False), *(a_ticket(n) for n in range(2, 12)))

    decision = pool.decide()

    assert decision.dropped == []
    assert sizes_of(decision) == [11]


def test_a_batch_makes_the_due_time_of_everybody_in_it() -> None:
    pool = Pool("w1")
    pool.queue(*(a_ticket(n, due_in_s=0.020) for n in range(4)), *(a_ticket(n, due_in_s=1.0) for n in range(4, 60)))

    (batch,) = pool.decide().batches

    assert 4 <= len(batch.parts) < 20
    assert service_s(len(batch.parts)) + 0.004 <= 0.020


def test_batches_are_filled_across_classes_urgent_ones_first() -> None:
    pool = Pool("w1")
    pool.queue(a_ticket(1, latency_class="standard"), a_ticket(2, latency_class="realtime"))

    (batch,) = pool.decide().batches

    assert [part.ticket.id for part in batch.parts] == ["r2", "r1"]


def test_a_long_backlog_of_a_loose_class_does_not_block_a_tight_one() -> None:
    pool = Pool("w1")
    pool.queue(a_ticket(0))
    pool.queue(*(a_ticket(n, latency_class="standard") for n in range(1, 40)))

    (batch,) = pool.decide().batches

    assert 2 * service_s(len(batch.parts)) + 0.004 <= 0.062


def test_token_limits_of_the_engine_bound_a_batch() -> None:
    pool = Pool("w1", max_tokens=100)
    pool.queue(*(a_ticket(n, tokens=30, due_in_s=5.0) for n in range(10)))

    assert sizes_of(pool.decide()) == [3]


def test_a_request_longer_than_a_batch_may_be_goes_alone() -> None:
    pool = Pool("w1", max_tokens=100)
    pool.queue(a_ticket(1, tokens=500, due_in_s=5.0), a_ticket(2, tokens=1, due_in_s=6.0))

    assert sizes_of(pool.decide()) == [1]


def test_a_small_batch_is_held_under_load_and_says_so_once() -> None:
    pool = Pool("w1")
    for index in range(2000):
        now_s = T0_S + index / 1000
        pool.controller.on_queued(a_ticket(index, now_s=now_s), now_s=now_s)
    now_s = T0_S + 2.0
    pool.beat("w1", now_s=now_s)
    pool.queue(a_ticket(5000, now_s=now_s), now_s=now_s)

    first, second = pool.decide(now_s), pool.decide(now_s)

    assert first.batches == []
    assert first.deferral is not None
    assert first.deferral.why.reason == "larger_batch"
    assert first.wake_at_s is not None
    assert now_s < first.wake_at_s <= now_s + 0.35 * 0.060 + 0.001
    assert second.deferral is None
    assert second.wake_at_s == first.wake_at_s


def test_a_silent_worker_gets_nothing() -> None:
    pool = Pool("w1")
    pool.queue(a_ticket(1, due_in_s=50.0))

    assert pool.decide(T0_S + 4.0).batches == []


def test_a_new_run_of_a_worker_begins_with_nothing_in_flight() -> None:
    pool = Pool("w1")
    busy(pool)
    pool.sent.clear()
    pool.beat("w1", now_s=T0_S + 0.010, run="2", slots=[], seq=1, at_ms=int(1000 * T0_S) + 10)
    pool.beat("w1", now_s=T0_S + 0.011, run="2")
    pool.queue(a_ticket(1))

    assert sizes_of(pool.decide(T0_S + 0.011)) == [1]


def test_a_worker_that_runs_what_others_sent_is_left_alone() -> None:
    pool = Pool("w1")
    pool.beat("w1", now_s=T0_S + 0.001, running=8)
    pool.queue(a_ticket(1))

    assert pool.decide(T0_S + 0.002).batches == []


def test_who_would_be_late_is_refused_with_a_time_to_try_again() -> None:
    pool = Pool("w1")
    for turn in range(21):
        now_s = T0_S + 0.1 * turn
        pool.queue(a_ticket(turn, now_s=now_s), now_s=now_s)
        pool.decide(now_s)
        pool.finish("w1", now_s=now_s + 0.01)
    now_s = T0_S + 2.5
    pool.queue(*(a_ticket(100 + n, now_s=now_s) for n in range(300)), now_s=now_s)
    newcomer = a_ticket(1000, now_s=now_s)

    refused = pool.controller.refuse(newcomer, now_s=now_s)

    assert refused is not None
    assert refused.why.reason == "would_be_late"
    assert refused.why.figures["queue_ahead_requests"] == 300
    assert 0.1 < refused.retry_after_s < 1.0


def test_nobody_is_refused_while_there_is_no_worker() -> None:
    pool = Pool()
    pool.queue(*(a_ticket(n) for n in range(500)))

    assert pool.controller.refuse(a_ticket(1000), now_s=T0_S) is None


def test_the_view_tells_how_near_to_its_limit_a_lane_is() -> None:
    pool = Pool("w1")
    for index in range(1100):
        now_s = T0_S + index / 1100
        pool.controller.on_queued(a_ticket(index, now_s=now_s), now_s=now_s)

    view = pool.controller.view("realtime", now_s=T0_S + 1.0)

    assert view.arrivals_per_s > 600
    assert 20 < view.size_limit < 64
    assert view.saturation > 0.5


def test_what_was_learned_of_the_batches_is_told() -> None:
    assert Pool().controller.learned() is None
    pool = Pool("w1")
    busy(pool)
    pool.finish("w1", now_s=T0_S + 0.03, factor=1.2)

    told = pool.controller.learned()

    assert told is not None
    assert (told.deployment, told.samples) == ("m@v1", 1)
    assert set(told.shape_us) == {"batch", "request", "token"}
    assert abs(told.shape_us["batch"] - 1e6 * BASE_S) < 2000
    assert told.safety > 1.1
    assert 0.1 < told.error_ratio < 0.3


def test_all_parts_of_a_batch_go_into_one_slot_of_its_worker() -> None:
    pool = Pool("w1", slots_each=3)
    pool.queue(*(a_ticket(number) for number in range(10)))

    (batch,) = pool.decide().batches

    assert len({part.placed.slot for part in batch.parts}) == 1
    assert [part.placed.seq for part in batch.parts] == list(range(1, 11))
    assert pool.fleet.workers["w1"].free_sequences == 64 - 10


def test_two_shards_never_send_to_the_same_idle_worker() -> None:
    shards = [Pool("w1", "w2", "w3", "w4", shard=shard, shards=2) for shard in (0, 1)]
    for pool in shards:
        pool.queue(*(a_ticket(number) for number in range(300)))

    given = [[batch.worker.name for batch in pool.decide().batches] for pool in shards]

    assert sorted(given[0] + given[1]) == ["w1", "w2", "w3", "w4"]
    assert len(given[0]) == 2


def test_a_worker_of_another_shard_is_borrowed_when_it_has_long_been_idle() -> None:
    pool = Pool("w1", "w2", shard=0, shards=2)
    pool.queue(*(a_ticket(number, due_in_s=5.0) for number in range(64)))
    assert sizes_of(pool.decide()) == [64]
    pool.queue(*(a_ticket(100 + number, due_in_s=0.4) for number in range(60)))
    early = pool.decide(T0_S + 0.001)
    assert early.batches == []
    assert early.wake_at_s is not None

    decision = pool.decide(early.wake_at_s)

    assert [batch.worker.name for batch in decision.batches] == ["w2"]
    assert early.wake_at_s > T0_S + 0.020


def test_a_tenant_that_asks_for_little_is_not_refused_for_what_another_one_has_waiting() -> None:
    pool = Pool("w1")
    for turn in range(25):
        now_s = T0_S + 0.02 * turn
        pool.queue(*(a_ticket(100 * turn + index, now_s=now_s, tenant="heavy") for index in range(15)), now_s=now_s)
        pool.decide(now_s)
        while pool.sent.get("w1"):
            pool.finish("w1", now_s=now_s + 0.019)
    now_s = T0_S + 0.5
    pool.queue(*(a_ticket(9000 + index, now_s=now_s, tenant="heavy") for index in range(200)), now_s=now_s)

    heavy = pool.controller.refuse(a_ticket(1, now_s=now_s, tenant="heavy"), now_s=now_s)
    light = pool.controller.refuse(a_ticket(2, now_s=now_s, tenant="light"), now_s=now_s)

    assert heavy is not None
    assert light is None


def test_under_overload_a_tenant_that_waits_with_little_keeps_its_place_for_longer() -> None:
    def is_dropped(tenant: str, due_in_s: float) -> bool:
        pool = Pool("w1")
        for index in range(2000):
            pool.controller.on_queued(a_ticket(index, tenant="heavy"), now_s=T0_S + 0.001 * index)
        now_s = T0_S + 2.0
        pool.queue(a_ticket(5000, now_s=now_s, due_in_s=due_in_s, tenant=tenant), now_s=now_s)
        pool.queue(*(a_ticket(6000 + i, now_s=now_s, tenant="heavy") for i in range(60)), now_s=now_s)
        return any(each.ticket.id == "r5000" for each in pool.decide(now_s).dropped)

    def least_s(tenant: str) -> float:
        return min(ms / 1000 for ms in range(10, 61) if not is_dropped(tenant, ms / 1000))

    assert 0.010 < least_s("light") < least_s("heavy") < 0.060
