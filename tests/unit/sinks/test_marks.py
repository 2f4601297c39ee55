"""Which messages the tables have, and where reading begins."""

import pytest

from sinks.recorder.marks import DAY_MS, Mark, Marks, Start, Stretch, start_of
from topics.errors import SettingsError

DAY = 20_000
STRETCH = Stretch("events", DAY, 0)


def marks_with(*known: tuple[Stretch, Mark]) -> Marks:
    marks = Marks()
    for stretch, mark in known:
        marks.advance(stretch, mark)
    return marks


def test_without_a_mark_everything_is_new() -> None:
    assert Marks().is_new(STRETCH, 0)


def test_what_is_at_or_below_the_mark_is_there() -> None:
    marks = marks_with((STRETCH, Mark(7, DAY * DAY_MS)))

    assert [marks.is_new(STRETCH, ko) for ko in (6, 7, 8)] == [False, False, True]


@pytest.mark.parametrize("other", [STRETCH._replace(kp=1), STRETCH._replace(day=DAY + 1), STRETCH._replace(table="x")])
def test_marks_of_other_stretches_say_nothing(other: Stretch) -> None:
    assert marks_with((STRETCH, Mark(7, 0))).is_new(other, 3)


def test_a_mark_never_goes_back() -> None:
    marks = marks_with((STRETCH, Mark(7, 70)), (STRETCH, Mark(5, 50)))

    assert not marks.is_new(STRETCH, 7)


def test_what_was_read_from_a_table_replaces_what_was_known_of_it_and_nothing_else() -> None:
    other = STRETCH._replace(table="requests")
    marks = marks_with((STRETCH, Mark(7, 70)), (other, Mark(9, 90)))

    marks.replace("events", [(STRETCH, Mark(3, 30))])

    assert (marks.is_new(STRETCH, 4), marks.is_new(other, 9)) == (True, False)


def test_a_stored_offset_that_is_younger_than_the_newest_stored_row_is_of_another_log() -> None:
    marks = marks_with((STRETCH, Mark(7, 70)))

    marks.check_same_log(STRETCH, 7, 70)
    with pytest.raises(SettingsError, match="does not belong to this trace topic"):
        marks.check_same_log(STRETCH, 3, 71)


def test_reading_begins_at_the_position() -> None:
    marks = marks_with((STRETCH, Mark(12, 0)))

    assert start_of(0, marks=marks, positions={0: 10}, begins=0, ends=20) == Start(offset=10, lost=0)


def test_without_a_position_reading_begins_where_the_log_does() -> None:
    marks = marks_with((STRETCH, Mark(12, 0)))

    assert start_of(0, marks=marks, positions={}, begins=3, ends=20) == Start(offset=3, lost=0)


def test_what_retention_removed_before_it_was_recorded_is_counted() -> None:
    marks = marks_with((STRETCH, Mark(12, 0)))

    assert start_of(0, marks=marks, positions={0: 10}, begins=15, ends=20) == Start(offset=15, lost=2)


def test_a_first_start_on_an_old_topic_has_lost_nothing() -> None:
    assert start_of(0, marks=Marks(), positions={}, begins=500, ends=600) == Start(offset=500, lost=0)


@pytest.mark.parametrize(("position", "mark"), [(21, 3), (3, 20)])
def test_tables_that_are_ahead_of_the_log_are_of_another_log(position: int, mark: int) -> None:
    marks = marks_with((STRETCH, Mark(mark, 0)))

    with pytest.raises(SettingsError, match="partition 0"):
        start_of(0, marks=marks, positions={0: position}, begins=0, ends=20)
