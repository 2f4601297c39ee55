import pytest

from processors.policy import ClassPolicy, Policy
from processors.routing.portions import Portions, equal
from topics.fleet import Finished

CLASS = "interactive"


def portions(shards: int = 2) -> list[Portions]:
    rules = ClassPolicy(priority=0, deadline_ms=60_000, queue_limit=100)
    policy = Policy(model="m", classes={CLASS: rules}, stable=None, longest_deadline_ms=60_000, shards=shards)
    return [Portions(policy, shard) for shard in range(shards)]


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
