"""What heartbeats tell of prompt beginnings: bounded, the most recent last, those that came twice first of all."""

from pipeline.worker.prefixes import KEPT, RecentPrefixes
from topics.fleet import MAX_PREFIXES


def test_the_most_recently_used_is_last_and_the_shortest_of_it() -> None:
    recent = RecentPrefixes()
    recent.use((1, 2))
    recent.use((3, 4))
    assert recent.newest() == [2, 1, 4, 3]


def test_using_one_again_makes_it_the_newest() -> None:
    recent = RecentPrefixes()
    recent.use((1,))
    recent.use((2,))
    recent.use((1,))
    assert recent.newest() == [2, 1]


def test_one_that_came_twice_is_told_before_many_that_came_once() -> None:
    recent = RecentPrefixes()
    recent.use((7,))
    recent.use((7,))
    for number in range(100, 100 + 2 * MAX_PREFIXES):
        recent.use((number,))
    told = recent.newest()
    assert len(told) == MAX_PREFIXES
    assert told[0] == 7
    assert told[-1] == 99 + 2 * MAX_PREFIXES


def test_more_that_came_twice_than_can_be_told() -> None:
    recent = RecentPrefixes()
    for number in [*range(2 * MAX_PREFIXES), *range(2 * MAX_PREFIXES)]:
        recent.use((number,))
    assert recent.newest() == list(range(MAX_PREFIXES, 2 * MAX_PREFIXES))


def test_memory_is_bounded() -> None:
    recent = RecentPrefixes()
    for number in range(3 * KEPT):
        recent.use((number,))
    assert len(recent) == KEPT
    assert len(recent.newest()) == MAX_PREFIXES


def test_nothing_is_left_of_an_engine_that_died() -> None:
    recent = RecentPrefixes()
    recent.use((1, 2))
    recent.clear()
    assert recent.newest() == []
