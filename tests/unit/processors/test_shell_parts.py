"""The parts of the shell that are plain code: acknowledgements, the broker's clock, bounded memories."""

from functools import partial

from processors.acks import OrderedAcks
from processors.clock import BrokerClock
from processors.events import Address
from processors.queueing.cancellations import Cancellations
from processors.queueing.lane import LaneQueue
from processors.routing.placements import Place, Placements
from tests.unit.processors.builders import T0_S, a_scheduler, admit


def at(offset: int) -> Address:
    return Address("t", 0, offset)


def received(*offsets: int) -> tuple[OrderedAcks, list[int]]:
    acks = OrderedAcks()
    acked: list[int] = []
    for offset in offsets:
        acks.receive(at(offset), partial(acked.append, offset))
    return acks, acked


def test_nothing_is_acknowledged_past_an_unsettled_record() -> None:
    acks, acked = received(5, 6, 7)
    acks.settle(at(6))
    acks.settle(at(7))
    assert (acked, len(acks)) == ([], 3)


def test_the_settled_head_is_acknowledged_in_order() -> None:
    acks, acked = received(5, 6, 9)
    acks.settle(at(6))
    acks.settle(at(5))
    assert (acked, len(acks)) == ([5, 6], 1)


def test_a_record_that_comes_again_is_not_taken_twice() -> None:
    acks, _ = received(5, 6)
    assert acks.receive(at(6), lambda: None) is False


def test_unknown_addresses_settle_nothing() -> None:
    acks, acked = received(5)
    acks.settle(at(4))
    assert acked == []


def test_the_fastest_record_tells_the_brokers_time() -> None:
    clock = BrokerClock()
    clock.observe(int((T0_S + 5.0 - 0.3) * 1000), local_s=T0_S)
    clock.observe(int((T0_S + 6.0 - 0.001) * 1000), local_s=T0_S + 1)
    assert abs(clock.now_s(T0_S + 2) - (T0_S + 7)) < 0.002


def test_old_records_do_not_set_the_clock_back() -> None:
    clock = BrokerClock()
    clock.observe(int((T0_S - 10) * 1000), local_s=T0_S)
    assert clock.now_s(T0_S) == T0_S


def test_a_clock_that_was_ahead_is_followed_back() -> None:
    clock = BrokerClock()
    for second in range(20):
        clock.observe(int((T0_S + second - 3) * 1000), local_s=T0_S + second)
    assert abs(clock.now_s(T0_S + 20) - (T0_S + 17)) < 0.002


def test_remembered_cancellations_are_bounded_and_expire() -> None:
    cancellations = Cancellations(keep_s=10, limit=2)
    for i in range(3):
        cancellations.add(("t", f"r{i}"), now_s=T0_S)
    assert len(cancellations) == 2
    assert cancellations.take(("t", "r0"), now_s=T0_S) is False
    assert cancellations.take(("t", "r2"), now_s=T0_S + 11) is False
    assert cancellations.take(("t", "r1"), now_s=T0_S + 9) is True


def test_known_places_are_bounded() -> None:
    placements = Placements(limit=2)
    for i in range(3):
        placements.put(Place(origin=str(i), key=("t", "same"), deployment="m@v1", slot=0))
    assert [place.origin for place in placements.of(("t", "same"))] == ["1", "2"]


def test_a_lane_forgets_tickets_that_left_from_its_middle() -> None:
    scheduler = a_scheduler(limit=10_000)
    admit(scheduler, *range(1000))
    lane: LaneQueue = scheduler._queues.lanes["interactive"]
    for offset in range(999, 0, -1):
        (ticket,) = scheduler._queues.waiting(("default", f"r{offset}"))
        scheduler._queues.leave(ticket)
    assert lane.held <= 2 * len(lane) + 64
