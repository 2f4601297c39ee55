import pytest

from processors.policy import ClassPolicy, Policy
from processors.routing.portions import WAITS_S, Portions, equal
from topics.fleet import Finished, LaneFigures, LaneReport

CLASS = "interactive"


URGENT = "realtime"


def portions(shards: int = 2, lanes: list[dict[str, list[int]]] | None = None) -> list[Portions]:
    rules = [ClassPolicy(priority=priority, deadline_ms=60_000, queue_limit=100) for priority in (0, 1)]
    classes = {URGENT: rules[0], CLASS: rules[1]}
    policy = Policy(model="m", classes=classes, stable=None, longest_deadline_ms=60_000, shards=shards)
    return [Portions(policy, shard, lanes[shard] if lanes else None) for shard in range(shards)]


def a_report(shard: int, *, at_s: float, **queued: int) -> LaneReport:
    lanes = [LaneFigures(latency_class=name, queued=count) for name, count in queued.items()]
    return LaneReport(processor="p", model="m", shard=shard, at_ms=round(1000 * at_s), lanes=lanes)


def finished(shard: int, number: int, backlog: int) -> Finished:
    return Finished(
        origin=f"inference.lane.m.{CLASS}/{shard}/{number}",
        batch_id="b",
        prompt_tokens=10,
        completion_tokens=10,
        service_us=1,
        outcome="completed",
        tenant="t",
        latency_class=CLASS,
        backlog=backlog,
    )


def hear(everyone: list[Portions], backlogs: list[list[int]], *, from_s: float = 0.0, every_s: float = 0.1) -> float:
    """What each shard left behind, again and again; when the last of it was heard."""
    now_s = from_s
    for number, behind in enumerate(backlogs):
        now_s += every_s
        for shard, backlog in enumerate(behind):
            for each in everyone:
                each.observe(finished(shard, number, backlog), now_s=now_s)
    return now_s


def test_portions_follow_what_waits_at_each_shard() -> None:
    everyone = portions()
    now_s = hear(everyone, [[30, 10]] * 100)

    first, second = (each.at(now_s) for each in everyone)

    assert first.ratio == pytest.approx(0.75, abs=0.01)
    assert first.high == second.low


def test_one_batch_that_leaves_nothing_behind_moves_them_little() -> None:
    everyone = portions()
    now_s = hear(everyone, [[20, 20]] * 100)
    now_s = hear(everyone, [[20, 0]], from_s=now_s)

    assert everyone[0].at(now_s).ratio == pytest.approx(0.5, abs=0.03)


def test_they_are_equal_again_when_nobody_has_waited_for_a_while() -> None:
    everyone = portions()
    now_s = hear(everyone, [[30, 0]] * 50)
    assert everyone[0].at(now_s).ratio > 0.8

    now_s = hear(everyone, [[0, 0]] * 200, from_s=now_s)

    assert [each.at(now_s) for each in everyone] == [equal(0, 2), equal(1, 2)]


def test_a_shard_that_goes_on_telling_of_a_queue_has_a_portion_though_nothing_of_it_ends() -> None:
    first, second = portions()
    now_s = hear([first, second], [[30, 0]] * 50)
    assert first.at(now_s).ratio > 0.8

    for shard, queued in ((0, 30), (1, 10)):
        first.hear(a_report(shard, at_s=now_s + 1.0, interactive=queued), now_s=now_s + 1.0)
    assert first.at(now_s + 1.0).ratio > 0.8
    for shard, queued in ((0, 30), (1, 10)):
        first.hear(a_report(shard, at_s=now_s + 2.0, interactive=queued), now_s=now_s + 2.0)

    assert first.at(now_s + 2.0).ratio == pytest.approx(0.75)
    assert first.at(now_s + 4.0).ratio == pytest.approx(0.75)


def test_where_nothing_ends_of_a_queue_those_are_in_it_who_were_seen_last() -> None:
    first, _ = portions()
    now_s = hear([first], [[30, 10]] * 100)
    later_s = now_s + 2 * WAITS_S
    for at_s in (later_s - 0.5, later_s):
        for shard in (0, 1):
            first.hear(a_report(shard, at_s=at_s, interactive=20), now_s=at_s)
    assert first.at(later_s).ratio == pytest.approx(0.75, abs=0.01)

    hear([first], [[30]], from_s=later_s)
    assert first.at(later_s + 1.0).ratio == pytest.approx(0.75, abs=0.01)
    assert first.at(later_s + 2 * WAITS_S) == equal(0, 2)


def test_it_has_no_less_than_if_it_told_nothing() -> None:
    first, _ = portions()
    now_s = hear([first], [[30, 0]] * 50)
    before = first.at(now_s).ratio
    for at_s in (now_s + 0.5, now_s + 1.0):
        for shard, queued in ((0, 100), (1, 1)):
            first.hear(a_report(shard, at_s=at_s, interactive=queued), now_s=at_s)

    assert first.at(now_s + 1.0).ratio == before


def test_a_shard_that_tells_nothing_any_more_is_not_waited_for() -> None:
    first, _ = portions()
    first.hear(a_report(1, at_s=1.0, interactive=3), now_s=1.0)
    assert first.waiting(4.0).shards == {1}
    assert first.waiting(4.1).shards == first.waiting(4.1).heard == frozenset()


def test_a_shard_waits_for_as_long_as_not_all_that_it_told_of_has_come_to_workers() -> None:
    first, _ = portions()
    first.hear(a_report(1, at_s=1.0, interactive=3), now_s=1.0)
    first.dispatched({0: 9, 1: 2})
    assert first.waiting(1.1).shards == {1}
    first.dispatched({1: 1})
    assert first.waiting(1.1).shards == frozenset()


def test_only_those_wait_who_have_something_of_the_most_urgent_class() -> None:
    first, _, _ = portions(3)
    first.hear(a_report(1, at_s=1.0, interactive=3), now_s=1.0)
    first.hear(a_report(2, at_s=1.0, realtime=1, interactive=3), now_s=1.0)
    assert first.waiting(1.0).shards == {2}


def test_what_waits_here_counts_when_the_others_have_heard_of_it() -> None:
    here: dict[str, list[int]] = {URGENT: [], CLASS: [1]}
    first, _ = portions(lanes=[here, {}])
    first.hear(a_report(1, at_s=1.0, interactive=3), now_s=1.0)
    assert first.waiting(1.0).shards == {1}
    assert first.waiting(1.0).is_untold

    first.hear(a_report(0, at_s=1.5, interactive=1), now_s=1.5)
    assert first.waiting(1.5).shards == {0, 1}
    assert not first.waiting(1.5).is_untold

    here[URGENT].append(2)
    assert first.waiting(1.6).is_untold

    here[URGENT].clear()
    here[CLASS].clear()
    assert first.waiting(1.7).shards == {1}


def test_a_report_that_is_older_than_what_is_known_changes_nothing() -> None:
    first, _ = portions()
    first.hear(a_report(1, at_s=2.0), now_s=2.0)
    first.hear(a_report(1, at_s=1.0, interactive=3), now_s=2.1)
    assert first.waiting(2.1).shards == frozenset()
