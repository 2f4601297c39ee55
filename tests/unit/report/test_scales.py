import itertools

import pytest

from pipeline.report import numbers
from pipeline.report.numbers import COUNT, DURATION_MS
from pipeline.report.plots.frame import LABEL_GAP, Span, apart
from pipeline.report.plots.scales import Scale, log_ticks, nice_ticks, time_label, time_ticks, value_ticks


@pytest.mark.parametrize(
    ("high", "ticks"), [(0, [0, 1]), (4, [0, 1, 2, 3, 4]), (7, [0, 2, 4, 6, 8]), (0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0])]
)
def test_ticks_are_round_and_hold_the_highest(high: float, ticks: list[float]) -> None:
    assert nice_ticks(high) == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high"), [(0.3, 20), (5, 90), (1, 1000), (7, 7_000_000)])
def test_logarithmic_ticks_enclose_all_values(low: float, high: float) -> None:
    ticks = log_ticks(low, high)

    assert ticks[0] <= low and ticks[-1] >= high
    assert ticks == sorted(set(ticks))


def test_only_durations_that_differ_much_are_logarithmic() -> None:
    assert value_ticks([1, 1000], DURATION_MS)[1]
    assert not value_ticks([100, 1000], DURATION_MS)[1]
    assert not value_ticks([1, 1000], COUNT)[1]


def test_ticks_of_durations_are_round_in_their_unit() -> None:
    ticks, _ = value_ticks([400_000, 500_000], DURATION_MS)

    assert [numbers.duration_ms(tick) for tick in ticks[-2:]] == ["8\u00a0min", "10\u00a0min"]


def test_a_scale_cuts_what_is_outside() -> None:
    scale = Scale(low=0, high=10, start=100, end=0)

    assert [scale(value) for value in (-5, 0, 5, 10, 20)] == [100, 100, 50, 0, 0]


@pytest.mark.parametrize("length_s", [5, 60, 600, 3600, 86_400, 7 * 86_400, 90 * 86_400])
def test_times_are_marked_a_few_times_whatever_the_range(length_s: int) -> None:
    ticks = time_ticks(1_795_000_000, 1_795_000_000 + length_s)

    assert 1 <= len(ticks) <= 7
    assert len({time_label(at, length_s=length_s) for at in ticks}) == len(ticks)


def test_labels_that_would_meet_are_moved_apart_and_stay_inside() -> None:
    moved = apart([100, 101, 102], low=10, high=110)

    assert all(after - before >= LABEL_GAP for before, after in itertools.pairwise(moved))
    assert moved[-1] <= 110


def test_labels_that_meet_move_both_ways_and_others_stay() -> None:
    assert apart([20, 50, 50, 90], low=10, high=110) == [20, 50 - LABEL_GAP / 2, 50 + LABEL_GAP / 2, 90]


def test_buckets_of_a_span_end_with_it() -> None:
    assert list(Span(from_s=0, to_s=25, step_s=10).starts) == [0, 10, 20]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.48, "480 µs"),
        (12.34, "12.3 ms"),
        (999.9, "1 s"),
        (90_000, "90 s"),
        (150_000, "2.5 min"),
        (9e6, "2.5 h"),
    ],
)
def test_durations_are_told_in_a_fitting_unit(value: float, text: str) -> None:
    assert numbers.duration_ms(value).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("value", "text"), [(1, "100 %"), (0.99999, "> 99.9 %"), (0.00001, "< 0.1 %"), (0.5, "50 %"), (0, "0 %")]
)
def test_shares_never_round_to_all_or_nothing(value: float, text: str) -> None:
    assert numbers.share(value).replace("\u00a0", " ") == text


@pytest.mark.parametrize(("value", "text"), [(0, "$0.00"), (0.0123, "$0.012"), (0.5, "$0.50"), (1234.5, "$1,234.50")])
def test_money(value: float, text: str) -> None:
    assert numbers.money(value) == text
