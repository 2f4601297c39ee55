"""The broker's clock, deadlines, early cancellations, the outbox, heartbeats and rows."""

from pipeline.engines.protocol import Load, StepCounts
from pipeline.worker.attempts import Attempt
from pipeline.worker.cancels import KEPT, EarlyCancels
from pipeline.worker.clock import WINDOW_MS, BrokerClock
from pipeline.worker.deadlines import Deadlines
from pipeline.worker.effects import Send
from pipeline.worker.heartbeats import Condition, Heart, StepSum
from pipeline.worker.outbox import JOINED_TOKENS, Outbox, last_refs
from pipeline.worker.rows import Identity, Rows
from pipeline.worker.slot import SlotOwner
from tests.unit.worker.builders import a_dispatch
from topics.codec import decode_response
from topics.dispatches import Cancel
from topics.errors import Cancelled
from topics.fleet import Credits, Limits
from topics.responses import Delta

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
    assert [queue[0].send.ref for _, queue in outbox.ready()] == ["b"]


def test_what_follows_a_refused_record_is_not_sent() -> None:
    outbox = Outbox()
    outbox.add(a_send("a"))
    ((partition, queue),) = list(outbox.ready())
    queue.clear()
    for ref in ("a", "b", "a"):
        outbox.add(a_send(ref))
    outbox.drop(partition, {"a"})
    outbox.settle(partition)
    assert [[parcel.send.ref for parcel in queue] for _, queue in outbox.ready()] == [["b"]]


def a_delta(ref: str, seq: int, text: str, **logprobs: list[object]) -> Send:
    delta = Delta(
        id="id",
        origin="l/0/1",
        attempt=ref,
        seq=seq,
        text=text,
        token_ids=[seq] if text else [],
        logprobs=logprobs or None,
    )
    return Send("t", 0, b"k", delta, ref)


def told(outbox: Outbox) -> list[object]:
    """What is ready: records, each told by its tokens or else by its ref."""
    ((partition, queue),) = list(outbox.ready())
    records = [
        parcel.send.ref if isinstance(parcel.send.content, bytes) else decode_response(parcel.value) for parcel in queue
    ]
    queue.clear()
    outbox.settle(partition)
    return [(record.seq, record.token_ids, record.text) if isinstance(record, Delta) else record for record in records]


def test_deltas_of_an_attempt_that_wait_together_become_one_record() -> None:
    outbox = Outbox()
    for send in (a_send("a"), a_delta("a", 0, "x"), a_delta("b", 5, "q"), a_delta("a", 1, "y"), a_send("a")):
        outbox.add(send)
    outbox.add(a_delta("a", 2, "z"))
    assert told(outbox) == ["a", (0, [0, 1], "xy"), (5, [5], "q"), "a", (2, [2], "z")]


def test_what_is_on_its_way_is_joined_by_nothing() -> None:
    outbox = Outbox()
    outbox.add(a_delta("a", 0, "x"))
    ((partition, queue),) = list(outbox.ready())
    outbox.add(a_delta("a", 1, "y"))
    assert [parcel.value for parcel in queue] == [a_delta("a", 0, "x").value, a_delta("a", 1, "y").value]
    queue.popleft()
    outbox.add(a_delta("a", 2, "z"))
    outbox.settle(partition)
    assert told(outbox) == [(1, [1, 2], "yz")]


def test_joined_deltas_have_a_limit_and_all_log_probabilities() -> None:
    outbox = Outbox()
    for seq in range(JOINED_TOKENS + 1):
        outbox.add(a_delta("a", seq, "x", tokens=[f"t{seq}"], token_logprobs=[-1.0]))
    ((_, queue),) = list(outbox.ready())
    first, second = (decode_response(parcel.value) for parcel in queue)
    assert isinstance(first, Delta) and isinstance(second, Delta)
    assert (len(first.token_ids), second.seq) == (JOINED_TOKENS, JOINED_TOKENS)
    assert first.logprobs["tokens"] == [f"t{seq}" for seq in range(JOINED_TOKENS)]
    assert len(first.logprobs["token_logprobs"]) == JOINED_TOKENS


def test_a_batch_completes_what_has_its_last_record_in_it() -> None:
    assert last_refs([a_send("a"), a_send("b", is_last=True)]) == ["b"]


def test_heartbeats_go_out_on_change_and_at_least_every_200_ms() -> None:
    heart = Heart(IDENTITY, engine="simulated")
    heart.beat(Condition(state="ready"), now_s=50.0, at_ms=0)
    assert heart.due_at_s(has_changed=True) == 50.02
    assert heart.due_at_s(has_changed=False) == 50.2


def test_heartbeats_of_a_worker_with_much_room_are_fewer() -> None:
    heart = Heart(IDENTITY, engine="simulated")
    limits = Limits(max_sequences=8, max_kv_tokens=800, max_batch_tokens=1, max_context_tokens=1)
    for free, due_at_s in ((5, 50.04), (4, 50.02)):
        load = Load(running=8 - free, waiting=0, credits=Credits(free_sequences=free, free_kv_tokens=100 * free))
        heart.beat(Condition(state="ready", load=load, limits=limits), now_s=50.0, at_ms=0)
        assert heart.due_at_s(has_changed=True) == due_at_s


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
