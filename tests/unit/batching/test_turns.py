from itertools import pairwise

import pytest

from processors.batching.turns import Turns, turn_after

HOP_S = 0.002


def turns_of(borders: list[float], workers: int, *, hold_s: float = 0.021) -> list[Turns]:
    """Of shards whose portions end at these borders."""
    ratios = [high - low for low, high in pairwise([0.0, *borders, 1.0])]
    return [Turns(ratios, shard, len(ratios), workers, hold_s, HOP_S) for shard in range(len(ratios))]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("borders", [[0.5], [0.25, 0.5, 0.75], [0.03], [0.97], [0.45], [1 / 3, 2 / 3]])
def test_every_batch_of_every_worker_is_the_turn_of_one_shard(workers: int, borders: list[float]) -> None:
    shards = turns_of(borders, workers)
    for index in range(workers):
        for turn in (0.0, 0.1, 0.5, 0.9, 0.999):
            assert sum(each.is_own(index, turn) for each in shards) == 1


def test_workers_within_a_portion_are_always_its_own() -> None:
    first, second = turns_of([0.5], 4)
    for turn in (0.0, 0.3, 0.999):
        assert [first.is_own(index, turn) for index in range(4)] == [True, True, False, False]
        assert [second.is_own(index, turn) for index in range(4)] == [False, False, True, True]


def test_a_worker_in_which_portions_meet_goes_to_both_by_what_they_have_of_it() -> None:
    first, _ = turns_of([0.25], 2)
    own = sum(first.is_own(0, turn_after(f"sender-b{number}")) for number in range(2000))
    assert own / 2000 == pytest.approx(0.5, abs=0.05)


def test_a_small_portion_is_never_rounded_away() -> None:
    small = turns_of([0.05], 4)[0]
    assert any(small.is_own(0, turn_after(f"sender-b{number}")) for number in range(100))


def test_those_who_borrow_a_worker_follow_each_other_late_enough_to_hear_of_each_other() -> None:
    shards = turns_of([0.25, 0.5, 0.75], 4)
    times_s = sorted(each.lent_s(2) for each in shards)
    assert times_s[0] > 0.021
    assert min(later - earlier for earlier, later in pairwise(times_s)) > 2 * HOP_S


@pytest.mark.parametrize("workers", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("shards", [2, 4, 8])
def test_shards_with_small_portions_side_by_side_all_have_a_turn(shards: int, workers: int) -> None:
    small = 1 / (4 * shards)
    large = 1 - small * (shards - 1)
    for index in range(shards):
        ratios = [small] * index + [large] + [small] * (shards - 1 - index)
        for shard in range(shards):
            turns = Turns(ratios, shard, shards, workers, 0.021, HOP_S)
            own = sum(turns.is_own(number % workers, number / 1600 % 1) for number in range(1600))
            assert own / 1600 >= ratios[shard] / 2 - 1 / 100
            assert own
