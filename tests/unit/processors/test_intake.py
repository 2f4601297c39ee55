"""The buffer between the client and the agents: bounded, fair between lanes, forgetful on a new assignment."""

from processors.intake import FULL, LOW, Intake


def test_records_come_out_in_order_and_in_equal_shares() -> None:
    intake: Intake[str] = Intake()
    intake.put({"bulk": list(range(100)), "interactive": [1, 2]})
    assert intake.take(None, 8) == {"bulk": [0, 1, 2, 3], "interactive": [1, 2]}
    assert intake.take(None, 8) == {"bulk": list(range(4, 12))}


def test_a_partition_that_is_not_wanted_keeps_its_records() -> None:
    intake: Intake[str] = Intake()
    intake.put({"bulk": [1], "interactive": [2]})
    assert intake.take({"interactive"}, 8) == {"interactive": [2]}
    assert intake.take({"bulk"}, 8) == {"bulk": [1]}


def test_a_full_partition_is_told_once_and_again_when_it_has_drained() -> None:
    intake: Intake[str] = Intake()
    assert intake.put({"bulk": [0] * FULL}) == ["bulk"]
    assert intake.put({"bulk": [0]}) == []
    assert intake.drained() == []
    intake.take(None, FULL + 1 - LOW)
    assert intake.drained() == ["bulk"]
    assert intake.drained() == []


def test_a_cleared_intake_has_nothing_and_nothing_full() -> None:
    intake: Intake[str] = Intake()
    intake.put({"bulk": [0] * FULL})
    intake.clear()
    assert intake.take(None, 10) == {}
    assert intake.drained() == []
