"""The broker's clock, deadlines, early cancellations, the outbox, heartbeats and rows."""

from pipeline.engines.protocol import Load, StepCounts
from pipeline.worker.attempts import Attempt
from pipeline.worker.cancels import KEPT, EarlyCancels
from pipeline.worker.clock import WINDOW_MS, BrokerClock
from pipeline.worker.deadlines import Deadlines
from pipeline.worker.effects import Send
from pipeline.worker.heartbeats import Condition, Heart, StepSum
from pipeline.worker.outbox import Outbox, last_refs
from pipeline.worker.rows import Identity, Rows
from pipeline.worker.slot import SlotOwner
from tests.unit.worker.builders import a_dispatch
from topics.dispatches import Cancel
from topics.errors import Cancelled
from topics.fleet import Credits

IDENTITY = Identity(worker="w", run="run", deployment="m@v1")


def test_the_smallest_difference_is_the_clocks() -> None:
    clock = BrokerClock()
    for transit_ms in (40, 3, 90):
        clock.observe(1000, 1500 + transit_ms)
    assert clock.broker_ms(2003) == 1500


def test_an_old_difference_is_forgotten() -> None:
    clock = BrokerClock()
    clock.observe(0, 10)
    clock.observe(WINDOW_MS, WINDOW_MS + 50)
    assert clock.difference_ms == 10
    clock.observe(2 * WINDOW_MS + 100, 2 * WINDOW_MS + 150)
    assert clock.difference_ms == 50


def test_deadlines_come_in_their_order_and_removed_ones_not_at_all() -> None:
    deadlines = Deadlines()
    for serial, at_ms in ((1, 30), (2, 10), (3, 20)):
        deadlines.add(serial, at_ms)
    deadlines.remove(3)
    assert deadlines.next_ms == 10
    assert list(deadlines.due(30)) == [2, 1]
    assert deadlines.next_ms is None


def test_removed_deadlines_do_not_pile_up() -> None:
    deadlines = Deadlines()
    deadlines.add(0, 50)
    for serial in range(1, 1000):
        deadlines.add(serial, 10**9)
        deadlines.remove(serial)
    assert list(deadlines.due(10**9)) == [0]
    assert deadlines.next_ms is None or deadlines.next_ms == 10**9


def test_cancellations_that_wait_are_bounded() -> None:
    early = EarlyCancels()
    slot = SlotOwner(partition=0, run="run", generation=1, base=0)
    displaced = [
        place
        for offset in range(KEPT + 2)
        for place in early.keep(Cancel(id=f"r{offset}", tenant="t"), slot=slot, offset=offset, now_s=0)
    ]
    assert [place.offset for place in displaced] == [0, 1]
    assert len(early) == KEPT


def test_a_cancellation_with_an_origin_means_only_that_request() -> None:
    early = EarlyCancels()
    slot = SlotOwner(partition=0, run="run", generation=1, base=0)
    early.keep(Cancel(id="order-42", tenant="acme", origin="elsewhere/0/1"), slot=slot, offset=1, now_s=0)
    assert early.take(a_dispatch()) == (False, [])


def test_cancellations_of_two_requests_with_one_id_are_kept_apart() -> None:
    early = EarlyCancels()
    slot = SlotOwner(partition=0, run="run", generation=1, base=0)
    for offset, origin in enumerate(("elsewhere/0/1", a_dispatch().origin)):
        early.keep(Cancel(id="order-42", tenant="acme", origin=origin), slot=slot, offset=offset, now_s=0)
    assert early.take(a_dispatch()) == (True, [])
    assert len(early) == 1


def test_a_cancellation_waits_as_long_as_a_request_may_live() -> None:
    early = EarlyCancels(remember_s=3600)
    slot = SlotOwner(partition=0, run="run", generation=1, base=0)
    early.keep(Cancel(id="order-42", tenant="acme"), slot=slot, offset=7, now_s=0)
    assert [place.offset for place in early.expire(3599)] == [7]
    assert len(early) == 1
    assert early.expire(3600) == []
    assert early.take(a_dispatch()) == (False, [])


def a_send(ref: str, partition: int = 0, *, is_last: bool = False) -> Send:
    return Send("t", partition, b"k", b"v", ref, is_last)


def test_a_partition_has_one_batch_in_flight() -> None:
    outbox = Outbox()
    outbox.add(a_send("a"))
    ((partition, queue),) = list(outbox.ready())
    queue.clear()
    outbox.add(a_send("b"))
    assert list(outbox.ready()) == []
    assert outbox.settle(partition)
    assert [queue[0].ref for _, queue in outbox.ready()] == ["b"]


def test_what_follows_a_refused_record_is_not_sent() -> None:
    outbox = Outbox()
    outbox.add(a_send("a"))
    ((partition, queue),) = list(outbox.ready())
    queue.clear()
    for ref in ("a", "b", "a"):
        outbox.add(a_send(ref))
    outbox.drop(partition, {"a"})
    outbox.settle(partition)
    assert [[send.ref for send in queue] for _, queue in outbox.ready()] == [["b"]]


def test_a_batch_completes_what_has_its_last_record_in_it() -> None:
    assert last_refs([a_send("a"), a_send("b", is_last=True)]) == ["b"]


def test_heartbeats_go_out_on_change_and_at_least_every_200_ms() -> None:
    heart = Heart(IDENTITY, engine="simulated")
    heart.beat(Condition(state="ready"), now_s=50.0, at_ms=0)
    assert heart.due_at_s(has_changed=True) == 50.02
    assert heart.due_at_s(has_changed=False) == 50.2


def test_credits_are_less_what_waits_before_the_engine() -> None:
    load = Load(running=2, waiting=1, credits=Credits(free_sequences=5, free_kv_tokens=100))
    condition = Condition(state="ready", load=load, waiting=3)
    beat = Heart(IDENTITY, engine="simulated").beat(condition, now_s=0, at_ms=0)
    assert (beat.waiting, beat.credits.free_sequences) == (4, 2)


def test_only_a_ready_worker_offers_room() -> None:
    load = Load(running=0, waiting=0, credits=Credits(free_sequences=5, free_kv_tokens=100))
    beat = Heart(IDENTITY, engine="simulated").beat(Condition(state="draining", load=load), now_s=0, at_ms=0)
    assert beat.credits.free_sequences == 0


def test_steps_are_summed_over_a_second() -> None:
    steps = StepSum(10.0)
    assert steps.add(StepCounts(steps=3, busy_us=5, running_max=4), 10.6) is None
    assert steps.add(StepCounts(steps=2, busy_us=6, running_max=1), 11.2) == (
        StepCounts(steps=5, busy_us=11, running_max=4),
        1_200_000,
    )


def test_a_row_counts_microseconds_from_production_and_0_where_nothing_was_reached() -> None:
    dispatch = a_dispatch(produced_at_us=5_000_000)
    attempt = Attempt(
        name="a", dispatch=dispatch, streams=True, mode="fresh", address="x/0/1", term=0, now_us=5_000_900
    )
    attempt.fail(Cancelled("asked"), 5_001_000)
    row = Rows(IDENTITY).request(attempt, trace_id=bytes(16), outcome="")
    assert (row.admitted_us, row.started_us, row.first_us, row.finished_us) == (1000, 900, 0, 1000)
    assert (row.final, row.outcome, row.error_code, row.lane_offset) == (1, "cancelled", "cancelled", 7)
