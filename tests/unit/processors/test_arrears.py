"""Turns at a shared worker: heartbeats in, who goes first out."""

import msgspec
import pytest

from processors.policy import Identity, shard_of
from processors.routing.arrears import FAR_BEHIND, LEFT_EMPTY, UNUSED_MS, Arrears, First, Waiting
from tests.unit.processors.builders import a_heartbeat
from topics.fleet import Heartbeat, Slot

EVEN = (0.5, 0.5)
EVERYBODY = frozenset({0, 1})


def a_slot(heartbeat: Heartbeat, *, term: int, seen: dict[str, int]) -> Heartbeat:
    """The heartbeat of a worker that has read so much from its slot."""
    return msgspec.structs.replace(heartbeat, slots=[Slot(partition=0, term=term, seen=seen)])


class AWorker:
    """A worker that two shards share, and what one of them makes of it."""

    def __init__(self) -> None:
        self.arrears = Arrears()
        self.read = {0: 0, 1: 0}
        self.at_ms = 0
        self.hear(free=0)

    def hear(
        self,
        *shards: int,
        free: int = 4,
        running: int = 8,
        waiting: frozenset[int] = EVERYBODY,
        ratios: tuple[float, ...] = EVEN,
        heard: frozenset[int] = EVERYBODY,
    ) -> First | None:
        """A heartbeat, when a request of each of these shards has come."""
        for shard in shards:
            self.read[shard] += 1
        heartbeat = self._heartbeat(free, running)
        sent = self.arrears.read(heartbeat)
        assert sent == {shard: shards.count(shard) for shard in set(shards)}
        return self.arrears.first(heartbeat, sent, Waiting(ratios, waiting, heard))

    def _heartbeat(self, free: int, running: int) -> Heartbeat:
        seen = {f"run.{shard}.1": seq for shard, seq in self.read.items() if seq}
        self.at_ms += UNUSED_MS
        return a_slot(a_heartbeat(free=free, running=running, at_ms=self.at_ms), term=0, seen=seen)


def test_room_is_divided_while_shards_take_turns() -> None:
    worker = AWorker()
    assert [worker.hear(number % 2) for number in range(20)] == [None] * 20


def test_who_is_far_behind_goes_first_until_it_has_caught_up() -> None:
    worker = AWorker()
    firsts = [worker.hear(0) for _ in range(5)]
    assert firsts == [None, None, None, First(1, False), First(1, False)]
    assert worker.hear(1) == First(1, False)
    assert worker.hear(1) is None


def test_how_far_behind_a_shard_is_follows_from_its_portion() -> None:
    worker = AWorker()
    sent = 0
    while worker.hear(0, ratios=(0.9, 0.1)) is None:
        sent += 1
    assert sent + 1 == pytest.approx(FAR_BEHIND / 0.1)


def test_what_nobody_could_use_part_of_goes_to_one() -> None:
    worker = AWorker()
    assert worker.hear(0) is None
    assert worker.hear() == First(1, False)
    assert worker.hear(1, 1) is None
    assert worker.hear() == First(0, False)


def test_what_may_be_on_its_way_is_waited_for() -> None:
    worker = AWorker()
    assert worker.hear(0) is None
    worker.at_ms -= UNUSED_MS - 1
    assert worker.hear() is None
    assert worker.hear() == First(1, False)


def test_nobody_goes_first_for_want_of_room_that_there_was_not() -> None:
    worker = AWorker()
    assert worker.hear(0, free=0) is None
    assert worker.hear(free=2) is None


def test_who_does_not_wait_is_owed_nothing() -> None:
    worker = AWorker()
    for _ in range(3):
        assert worker.hear(0, waiting=frozenset({0})) is None
    assert worker.hear(0) is None


def test_one_that_sends_though_it_was_not_known_to_wait_does_not_lock_another_out() -> None:
    worker = AWorker()
    found = [worker.hear(0, waiting=frozenset({1})) for _ in range(8)]
    assert found == [None] + 6 * [First(1, False)] + [First(1, True)]
    assert worker.hear(1, waiting=frozenset({1})) is None


def test_what_those_send_who_do_not_wait_is_no_use_that_others_made_of_their_part() -> None:
    worker = AWorker()
    assert worker.hear(0, 1, waiting=frozenset({1})) is None
    assert worker.hear(0, waiting=frozenset({1})) == First(1, False)
    assert worker.hear(0, free=0, waiting=frozenset({1})) is None


def test_who_begins_to_wait_does_not_go_before_those_who_have_waited_longer() -> None:
    worker = AWorker()
    for _ in range(3):
        worker.hear(0)
    worker.hear(0, waiting=frozenset({0}))
    assert worker.hear(0) is None  # the second has begun anew
    assert worker.hear(1, 1, 1) is None


def test_a_worker_that_is_left_empty_is_divided() -> None:
    worker = AWorker()
    found = [worker.hear(running=0) for _ in range(LEFT_EMPTY + 2)]
    assert found[-1] is None
    assert found[1] == First(0, False)


def test_there_are_no_turns_with_one_who_does_not_tell_what_waits_there() -> None:
    worker = AWorker()
    assert [worker.hear(0, heard=frozenset({1})) for _ in range(6)] == [None] * 6


def test_a_worker_that_has_begun_anew_counts_anew() -> None:
    arrears = Arrears()
    arrears.read(a_slot(a_heartbeat(), term=0, seen={"run.0.1": 7}))
    assert arrears.read(a_slot(a_heartbeat(run="run2"), term=1, seen={"run.0.1": 9})) == {}
    assert arrears.read(a_slot(a_heartbeat(run="run2"), term=1, seen={"run.0.1": 10})) == {0: 1}


def test_a_sender_says_which_shard_it_is() -> None:
    assert shard_of(Identity.of("p", run="ab.c", shard=12, life=3).sender) == 12
    assert shard_of("somebody") is None
