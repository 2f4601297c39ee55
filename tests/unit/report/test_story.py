import itertools

import pytest

from pipeline.cli.views.waterfall import bar, story_view
from pipeline.report.request_page import request_page
from pipeline.report.story import LOST, stories, stretches
from tests.unit.cli.rendering import rendered
from tests.unit.report.builders import an_attempt, an_event
from tests.unit.report.pages import assert_page_is_whole, assert_page_stands_alone


def test_the_stretches_of_an_attempt_follow_on_each_other_and_fill_its_time() -> None:
    found = stretches(an_attempt())

    assert [s.station for s in found] == [
        "admitted",
        "batched",
        "dispatched",
        "started",
        "first token",
        "last token",
        "finished",
    ]
    assert found[0].begins_us == 0
    assert all(before.ends_us == after.begins_us for before, after in itertools.pairwise(found))
    assert found[-1].ends_us == 51_000


def test_a_station_that_was_not_reached_has_no_stretch() -> None:
    refused = an_attempt(
        attempt="",
        batched_us=0,
        dispatched_us=0,
        started_us=0,
        first_us=0,
        last_us=0,
        finished_us=5_000,
        outcome="expired",
    )

    assert [(s.station, s.length_ms) for s in stretches(refused)] == [("admitted", 1.0), ("finished", 4.0)]


def test_a_station_that_another_clock_tells_too_early_is_left_out() -> None:
    assert "started" not in [s.station for s in stretches(an_attempt(started_us=2_500))]


def test_what_a_take_over_shares_with_the_attempt_before_is_drawn_once() -> None:
    dead = an_attempt(finished_us=20_000, last_us=0, outcome="lost", is_accepted=False)
    heir = an_attempt(attempt="a2", mode="resume", started_us=40_000, last_us=70_000, finished_us=71_000)

    found = stretches(heir, [dead])

    assert [(s.station, s.begins_us) for s in found] == [
        ("started", 20_000),
        ("last token", 40_000),
        ("finished", 70_000),
    ]


def test_an_attempt_whose_worker_died_is_known_by_its_event_and_lasts_until_the_next() -> None:
    heir = an_attempt(attempt="a2", hop=1, started_us=40_000, first_us=45_000)
    events = [
        an_event("attempt.started", 4_000, attempt="a1"),
        an_event("attempt.started", 40_000, attempt="a2", worker="w1"),
    ]

    (story,) = stories("r", [heir], events)

    lost, taken = story.tracks
    assert (lost.outcome, lost.place, lost.stretches[0].station) == (LOST, "w0", LOST)
    assert (lost.stretches[0].begins_us, lost.stretches[0].ends_us) == (4_000, 40_000)
    assert taken.is_accepted


def test_attempts_are_in_the_order_of_their_hops_whatever_their_clocks_say_and_numbered() -> None:
    handed_back = an_attempt(attempt="x1", started_us=4_800, last_us=0, outcome="returned", is_accepted=False)
    heir = an_attempt(attempt="x2", hop=1, mode="resume", started_us=4_700)

    (story,) = stories("r", [heir, handed_back], [])

    assert [track.name for track in story.tracks] == [
        "attempt 1, x1, hop 0 · fresh · stop",
        "attempt 2, x2, hop 1 · resume · stop",
    ]
    assert (story.number_of("x2"), story.number_of("")) == (2, 0)
    assert story.first.attempt == "x1"


def test_of_a_hop_the_take_over_comes_second() -> None:
    taken = an_attempt(attempt="y", mode="resume", started_us=3_900)

    (story,) = stories("r", [taken, an_attempt(is_accepted=False)], [])

    assert [track.attempt for track in story.tracks] == ["a1", "y"]


def test_a_lost_attempt_counts_and_a_processors_end_does_not() -> None:
    ended = an_attempt(attempt="", started_us=0, first_us=0, last_us=0, finished_us=60_000, outcome="cancelled")

    (story,) = stories("r", [ended, an_attempt(is_accepted=False)], [an_event("attempt.started", 2_000, attempt="a0")])

    assert [(track.number, track.attempt) for track in story.tracks] == [(1, "a0"), (2, "a1"), (0, "")]
    assert story.tracks[-1].name == "in the processor"


def test_two_requests_that_share_an_id_are_two_stories_with_their_own_events() -> None:
    first, second = an_attempt(), an_attempt(lane_offset=6)
    events = [an_event("request.admitted", 1_000), an_event("request.admitted", 1_000, origin=second.origin)]

    found = stories("r", [first, second], events)

    assert [story.first.lane_offset for story in found] == [5, 6]
    assert [len(story.events) for story in found] == [1, 1]


def test_there_is_no_story_without_a_row() -> None:
    assert stories("r", [], [an_event("request.admitted", 1_000)]) == []


def test_the_page_is_whole_stands_alone_and_escapes_the_id() -> None:
    page = request_page('<b>"x"</b>', stories('<b>"x"</b>', [an_attempt(error_code="<i>")], []))

    assert_page_is_whole(page)
    assert_page_stands_alone(page)
    assert "<b>&quot;" not in page and "<i>" not in page


@pytest.mark.parametrize(
    ("begins", "ends", "cells"), [(0, 100, (0, 10)), (0, 0, (0, 1)), (100, 100, (9, 1)), (35, 51, (3, 3))]
)
def test_bars_are_at_least_one_cell_and_stay_on_the_axis(begins: int, ends: int, cells: tuple[int, int]) -> None:
    assert bar(begins, ends, 100, 10) == cells


def test_the_terminal_shows_stations_with_durations_in_a_hundred_columns() -> None:
    (story,) = stories("r1", [an_attempt()], [an_event("request.admitted", 1_000, queue_depth=3)])

    lines = rendered(story_view(story)).splitlines()

    assert any(line.split()[:3] == ["last", "token", "40"] for line in lines)
    assert any("request.admitted" in line and "3 queued" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_a_request_that_has_not_ended_says_so() -> None:
    (story,) = stories("r1", [an_attempt(is_accepted=False, outcome="parked")], [])

    assert "no end yet" in rendered(story_view(story))
