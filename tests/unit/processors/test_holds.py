"""Reasons for which a partition is not fetched, and cancellations of an earlier time."""

from processors.holds import FULL, REBUILDING, UNACKED, Holds
from processors.queueing.cancellations import Cancellations


class Flow:
    def __init__(self) -> None:
        self.told: list[str] = []

    def hold(self, topic: str, partition: int) -> None:
        self.told.append(f"hold {topic}/{partition}")

    def release(self, topic: str, partition: int) -> None:
        self.told.append(f"release {topic}/{partition}")


def test_a_partition_is_held_while_there_is_a_reason() -> None:
    flow = Flow()
    holds = Holds(flow)
    holds.hold("t", 0, FULL)
    holds.hold("t", 0, UNACKED)
    holds.release("t", 0, FULL)
    holds.release("t", 0, REBUILDING)
    assert flow.told == ["hold t/0"]
    holds.release("t", 0, UNACKED)
    holds.release("t", 0, UNACKED)
    assert flow.told == ["hold t/0", "release t/0"]


def test_what_is_held_is_held_again_when_fetching_begins_anew() -> None:
    flow = Flow()
    holds = Holds(flow)
    holds.hold("t", 0, REBUILDING)
    holds.renew("t", 0)
    holds.renew("t", 1)
    assert flow.told == ["hold t/0"] * 2


def test_the_holds_of_a_partition_that_is_taken_away_are_forgotten() -> None:
    flow = Flow()
    holds = Holds(flow)
    holds.hold("t", 0, UNACKED)
    holds.forget("t", 0)
    holds.release("t", 0, UNACKED)
    assert flow.told == ["hold t/0"]


def test_a_cancellation_of_an_earlier_time_means_what_was_produced_before_it() -> None:
    cancellations = Cancellations(keep_s=60)
    for name in ("old", "new"):
        cancellations.inherit(("t", name), at_ms=1_000_000, by_ms=1_000_000)
    assert cancellations.take(("t", "old"), now_s=1001.0, produced_ms=1_000_000)
    assert not cancellations.take(("t", "new"), now_s=1001.0, produced_ms=1_000_001)
    assert len(cancellations) == 0


def test_an_early_cancellation_of_an_earlier_time_means_any_request_until_it_expires() -> None:
    cancellations = Cancellations(keep_s=60)
    for name in ("soon", "late"):
        cancellations.inherit(("t", name), at_ms=1_000_000, by_ms=None)
    assert cancellations.take(("t", "soon"), now_s=1059.0, produced_ms=1_050_000)
    assert not cancellations.take(("t", "late"), now_s=1061.0, produced_ms=1_050_000)


def test_a_cancellation_that_comes_now_is_not_bound_by_one_of_an_earlier_time() -> None:
    cancellations = Cancellations(keep_s=60)
    cancellations.inherit(("t", "r"), at_ms=1_000_000, by_ms=1_000_000)
    cancellations.add(("t", "r"), now_s=1010.0)
    assert cancellations.take(("t", "r"), now_s=1011.0, produced_ms=1_011_000)
