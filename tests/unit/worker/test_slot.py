from pipeline.worker.slot import SENDERS_KEPT, SlotOwner, SlotState, Taken, starting_mode
from tests.unit.worker.builders import a_dispatch
from topics.dispatches import Dispatch, Owner


def a_slot(*, base: int = 0, generation: int = 5, term: int | None = None) -> SlotOwner:
    slot = SlotOwner(partition=0, run="me", generation=generation, base=base)
    if term is not None:
        slot.on_record(Owner(worker="me", run="me"), offset=term, at_ms=0)
        slot.owned(term)
    return slot


def read(slot: SlotOwner, offset: int, record: Dispatch | Owner | None = None) -> Taken | None:
    return slot.on_record(record or a_dispatch(), offset=offset, at_ms=0)


def test_nothing_is_worked_on_before_the_proof() -> None:
    slot = a_slot()
    assert read(slot, 0) is None
    assert [taken.offset for taken in slot.owned(1)] == [0]


def test_what_lies_before_the_marker_may_have_started() -> None:
    slot = a_slot()
    read(slot, 0)
    assert slot.owned(1)[0].may_have_started


def test_hop_0_after_the_marker_is_fresh() -> None:
    taken = read(a_slot(term=0), 1)
    assert taken is not None
    assert not taken.may_have_started


def test_a_later_hop_may_have_started_anywhere() -> None:
    taken = read(a_slot(term=0), 1, a_dispatch(hop=1))
    assert taken is not None
    assert taken.may_have_started


def test_a_foreign_marker_after_the_own_one_loses_the_slot() -> None:
    slot = a_slot(term=0)
    read(slot, 1, Owner(worker="other", run="other"))
    assert slot.state is SlotState.LOST
    assert read(slot, 2) is None


def test_a_foreign_marker_before_the_own_one_does_not() -> None:
    slot = a_slot()
    read(slot, 0, Owner(worker="other", run="other"))
    slot.owned(1)
    assert slot.state is SlotState.ACTIVE


def test_a_foreign_marker_read_before_the_own_term_is_known_counts_too() -> None:
    slot = a_slot()
    read(slot, 0)
    read(slot, 3, Owner(worker="other", run="other"))
    assert slot.owned(1) == []
    assert slot.state is SlotState.LOST


def test_ownership_goes_on_in_the_very_next_generation() -> None:
    slot = a_slot(term=0, generation=5)
    slot.suspend()
    assert slot.reassigned(6)
    assert (slot.state, slot.term) == (SlotState.ACTIVE, 0)


def test_ownership_ends_where_a_generation_was_missed() -> None:
    slot = a_slot(term=0, generation=5)
    slot.suspend()
    assert not slot.reassigned(7)
    assert slot.state is SlotState.LOST


def test_a_claim_that_a_rebalance_interrupts_is_lost() -> None:
    slot = a_slot()
    slot.suspend()
    assert slot.owned(3) == []
    assert slot.state is SlotState.LOST


def test_records_that_come_again_are_taken_once() -> None:
    slot = a_slot(term=0)
    assert read(slot, 1) is not None
    assert read(slot, 1) is None


def test_a_heartbeat_tells_the_newest_of_each_of_the_last_senders() -> None:
    slot = a_slot(term=0)
    for index in range(SENDERS_KEPT + 1):
        read(slot, index + 1, a_dispatch(sender=f"p{index}", seq=index))
    read(slot, 20, a_dispatch(sender="p1", seq=0))
    assert slot.heartbeat.seen == {f"p{index}": index for index in range(1, SENDERS_KEPT + 1)}


def test_only_what_certainly_did_not_start_is_fresh() -> None:
    assert starting_mode(may_have_started=False) == "fresh"
    assert starting_mode(may_have_started=True) == "restart"
    assert starting_mode(may_have_started=True, can_continue=True) == "resume"
