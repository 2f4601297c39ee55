import xml.etree.ElementTree as ET

import pytest

from pipeline.report.markup import Markup, element, joined
from pipeline.report.numbers import COUNT, DURATION_MS
from pipeline.report.plots.areas import areas, stacked
from pipeline.report.plots.bars import Bar, lying
from pipeline.report.plots.frame import Span
from pipeline.report.plots.lines import Line, key, lines, runs
from tests.unit.report.pages import SVG

SPAN = Span(from_s=1_795_003_200, to_s=1_795_003_260, step_s=10)


def a_line(*values: float | None) -> Line:
    return Line(name="p50", values=values, tone="p50")


def test_children_and_attributes_are_escaped_once() -> None:
    inner = element("b", "a < b")

    assert element("p", inner, ' & "', title='"<') == ('<p title="&quot;&lt;"><b>a &lt; b</b> &amp; &quot;</p>')
    assert joined(Markup("<br>"), "<") == "<br>&lt;"


def test_a_gap_breaks_a_line_and_what_stands_alone_is_a_dot() -> None:
    svg = ET.fromstring(lines("n", "t", SPAN, [a_line(1, 2, None, 3, None, None)], DURATION_MS))

    assert len(svg.findall(f".//{SVG}polyline")) == 1
    assert len(svg.findall(f".//{SVG}circle")) == 1


def test_runs_know_where_they_begin() -> None:
    assert runs([None, 1, 2, None, 3]) == [(1, [1, 2]), (4, [3])]


def test_a_target_far_above_the_values_is_told_and_does_not_press_them_flat() -> None:
    near = lines("n", "t", SPAN, [a_line(*range(1, 7))], DURATION_MS, target=8)
    far = lines("n", "t", SPAN, [a_line(*range(1, 7))], DURATION_MS, target=60_000)

    assert 'class="target"' in near
    assert 'class="target"' not in far
    assert "Target 60\u00a0s." in far


def test_a_target_lies_under_the_lines_and_its_words_are_in_the_key() -> None:
    line = a_line(*range(1, 7))
    picture = lines("n", "t", SPAN, [line], DURATION_MS, target=5)

    assert picture.index('class="target"') < picture.index('class="line p50"')
    assert "target" not in "".join(text.text or "" for text in ET.fromstring(picture).findall(f".//{SVG}text"))
    assert key([line], DURATION_MS, target=5) == [("stroke p50", "p50"), ("stroke aim", "target 5\u00a0ms")]
    assert key([line], DURATION_MS, target=60_000)[-1] == ("stroke aim", "target 60\u00a0s, above the axis")


def test_names_stand_beside_the_last_points_and_the_first_line_lies_on_top() -> None:
    early, late = a_line(1, 2, 2, None, None, None), Line(name="p95", values=[3] * 3 + [None] * 3, tone="p95")
    svg = ET.fromstring(lines("n", "t", SPAN, [early, late], DURATION_MS, named=True))

    names = [text for text in svg.findall(f".//{SVG}text") if (text.get("class") or "").startswith("name ")]
    drawn = svg.findall(f".//{SVG}polyline")
    end_x = float((drawn[0].get("points") or "").split(" ")[-1].split(",")[0])
    assert [float(name.get("x") or 0) - end_x for name in names] == pytest.approx([6, 6], abs=0.1)
    assert [line.get("class") for line in drawn] == ["line p95", "line p50"]


def test_a_picture_without_values_is_a_picture() -> None:
    svg = ET.fromstring(lines("n", "t", SPAN, [a_line(*[None] * 6)], COUNT))

    assert svg.findtext(f"{SVG}desc") == "p50: no data."


def test_stacked_rows_are_running_sums_and_nothing_counts_as_zero() -> None:
    assert stacked([[1, 2], [3, None]]) == [[0, 0], [1, 2], [4, 2]]


def test_an_area_reaches_from_the_one_below_to_its_own_sum() -> None:
    svg = ET.fromstring(areas("n", "t", SPAN, [a_line(*[1] * 6), a_line(*[2] * 6)], COUNT))

    assert [path.get("class") for path in svg.findall(f".//{SVG}path")] == ["area p50", "area p50"]


def test_the_parts_of_a_bar_lie_beside_each_other() -> None:
    svg = ET.fromstring(lying("n", "t", [Bar(name="x" * 50, parts=(("c1", 3.0), ("c2", 1.0)), label="4")]))

    first, second = svg.findall(f".//{SVG}rect")
    assert float(first.get("x", "")) + float(first.get("width", "")) == float(second.get("x", ""))
    assert f"{'x' * 17}…" in [text.text for text in svg.findall(f".//{SVG}text")]
