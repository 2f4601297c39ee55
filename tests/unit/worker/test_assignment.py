"""Slots stay where they are, as far as equal shares allow."""

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from pipeline.worker.assignment import NOTHING, Holding, SlotAssignor, spread

SLOTS = range(8)


def _holding(*slots: int, generation: int = 1, jobs: int = 0) -> Holding:
    return Holding(generation=generation, jobs=dict.fromkeys(slots, jobs))


def test_the_first_members_share_equally() -> None:
    assert spread(SLOTS, {"a": NOTHING, "b": NOTHING, "c": NOTHING}) == {"a": [0, 1, 2], "b": [3, 4, 5], "c": [6, 7]}


def test_a_third_member_gets_its_share_and_nothing_else_moves() -> None:
    members = {"a": _holding(0, 2, 4, 6), "b": _holding(1, 3, 5, 7), "c": NOTHING}
    assert spread(SLOTS, members) == {"a": [0, 2, 4], "b": [1, 3, 5], "c": [6, 7]}


def test_the_slots_with_the_least_work_move() -> None:
    members = {"a": Holding(generation=1, jobs={0: 9, 1: 0, 2: 5, 3: 7}), "b": NOTHING}
    assert spread(range(4), members) == {"a": [0, 3], "b": [1, 2]}


def test_slots_of_a_member_that_left_are_shared_by_the_others() -> None:
    assert spread(SLOTS, {"a": _holding(0, 1, 2), "b": _holding(3, 4, 5)}) == {"a": [0, 1, 2, 6], "b": [3, 4, 5, 7]}


def test_of_two_claims_the_newer_generation_counts() -> None:
    members = {"former": _holding(0, 1, generation=3, jobs=9), "owner": _holding(0, 1, generation=4)}
    assert spread(range(2), members) == {"former": [1], "owner": [0]}


def test_more_members_than_slots_leave_some_without() -> None:
    assert spread(range(1), {"a": NOTHING, "b": _holding(0)}) == {"a": [], "b": [0]}


class _Cluster:
    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0, 1, 2, 3}


def test_what_members_have_travels_with_their_request_to_join() -> None:
    first, second = SlotAssignor(), SlotAssignor()
    first.holding = lambda: _holding(1, 3)
    garbled = ConsumerProtocolMemberMetadata(0, ["slots"], b"\xff{")
    members = {"a": first.metadata(["slots"]), "b": second.metadata(["slots"]), "c": garbled}

    found = first.assign(_Cluster(), members)

    assert {member: share.assignment for member, share in found.items()} == {
        "a": [("slots", [1, 3])],
        "b": [("slots", [0])],
        "c": [("slots", [2])],
    }
