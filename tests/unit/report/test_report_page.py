import math
from datetime import UTC, datetime

import pytest

from pipeline.report import lanes
from pipeline.report.build import report
from pipeline.report.facts import BatchSize, Facts
from pipeline.report.ranges import Range
from pipeline.report.reconciliation import ends_verdict, gpu_verdict
from tests.unit.report.builders import HOUR_S, a_class, a_lane, a_start, a_tenant, some_facts
from tests.unit.report.pages import assert_page_is_whole, assert_page_stands_alone, pictures

ASKED = Range(from_s=HOUR_S, to_s=HOUR_S + 180)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
EMPTY: dict[str, object] = {field: [] for field in Facts.__dataclass_fields__ if field != "totals"}


def page(**fields: object) -> str:
    return report(some_facts(**fields), ASKED, database="trace", plan="on_demand", now=NOW)


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = page()

    assert_page_is_whole(text)
    assert_page_stands_alone(text)
    assert len(pictures(text)) > 10


def test_the_page_of_a_range_without_anything_is_whole() -> None:
    text = page(**EMPTY)

    assert_page_is_whole(text)
    assert "nothing in this range" in text


def test_names_from_outside_are_escaped() -> None:
    text = page()

    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/<wbr>script&gt;" in text
    assert "&lt;acme &amp; sons&gt;" in text


def test_the_browser_is_told_to_fetch_nothing() -> None:
    assert """content="default-src 'none'; style-src 'unsafe-inline'\"""" in page()


def test_colours_follow_the_readers_preference_and_paper_is_light() -> None:
    text = page()

    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text


def test_lines_have_a_key_and_their_names_have_their_colours() -> None:
    text = page()

    assert "svg .name { fill: currentColor;" in text
    assert text.count('<i class="stroke p99"></i>') == text.count('class="name p99"') > 0


def test_names_break_where_a_part_of_them_ends_and_numbers_stay_with_their_unit() -> None:
    text = page()

    assert "inference.<wbr>requests.<wbr>tiny.<wbr>interactive" in text
    assert "white-space: nowrap" not in text.split("th, td {")[1].split("}")[0]


def test_a_class_below_its_objective_is_marked_by_more_than_colour() -> None:
    text = page(classes=[a_class(attainment=0.8), a_class(model="other", attainment=0.95)])

    assert text.count('class="missed"') == 1
    assert "✗ 80" in text
    assert '/ </i></span><span class="part">90\u00a0%</span>' in text


def test_a_class_without_targets_has_no_attainment() -> None:
    classes = [a_class(target_ttft_ms=0, target_e2e_ms=0, objective=0, attainment=math.nan)]

    assert "missed" not in lanes.classes_table(classes)


def test_without_prices_time_is_shown_and_no_cost() -> None:
    text = page(tenants=[a_tenant(useful_usd=0, wasted_usd=0)])

    assert "There are no prices" in text
    assert "Cost per tenant" not in text
    assert "GPU time per tenant" in text


def test_time_without_a_price_is_told_beside_the_cost_of_the_rest() -> None:
    assert "1.5\u00a0s of it has no price" in page(tenants=[a_tenant(), a_tenant(unpriced_ns=1_500_000_000)])
    assert "no price" not in page(tenants=[a_tenant()])


@pytest.mark.parametrize(
    ("lane", "says"),
    [
        (a_lane(), "✓ Every request has exactly one end"),
        (a_lane(produced=11), "– 1 request has no end yet"),
        (a_lane(final_rows=12), "✗ 2 requests have two final rows"),
        (a_lane(produced=9), "✗ 1 more end than places in the log"),
    ],
)
def test_the_verdict_on_requests(lane: object, says: str) -> None:
    assert says in ends_verdict([lane])  # type: ignore[list-item]


def test_what_one_lane_has_too_many_does_not_make_up_for_what_another_lacks() -> None:
    assert "✗ 2 more ends" in ends_verdict([a_lane(produced=8), a_lane(lane_partition=1, produced=12)])


def test_the_verdict_on_gpu_time_names_the_start_that_does_not_hold() -> None:
    fine, wrong = a_start(), a_start(run="w-run2", difference_ns=1, holds=False)

    assert "✓ GPU time adds up to the nanosecond" in gpu_verdict([fine])
    assert "✗ GPU time of 1 of 2 starts does not add up: w-run2" in gpu_verdict([fine, wrong])


def test_large_batches_are_counted_by_powers_of_two() -> None:
    sizes = [BatchSize(size=size, batches=1, requests=size) for size in (1, 3, 4, 9, 17)]

    assert lanes.size_classes(sizes) == [
        ("1", 1),
        ("2", 0),
        ("3–4", 2),
        ("5–8", 0),
        ("9–16", 1),
        ("17–32", 1),
    ]
