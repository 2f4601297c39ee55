"""Lines over time, with gaps where there is nothing, a dashed line for a target, and the key to both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.report.markup import Markup, element, joined
from pipeline.report.numbers import Format, Quantity
from pipeline.report.plots.frame import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Span,
    axes,
    end_labels,
    picture,
    time_scale,
)
from pipeline.report.plots.scales import Scale, value_ticks

FAR: Final = 3.0
"""A target so many times above all values is not part of the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One value per bucket of the span, None where there is none. `tone` is its CSS class: c1 … c7, p50, p95, p99."""

    name: str
    values: Sequence[float | None]
    tone: str


def lines(
    name: str,
    title: str,
    span: Span,
    series: Sequence[Line],
    quantity: Quantity,
    *,
    target: float | None = None,
    named: bool = False,
) -> Markup:
    """A picture of the series, the first on top, with their names at their ends where these are short (`named`).

    A target far above them is in the key and not drawn: it would press them flat.
    """
    known = [value for line in series for value in line.values if value is not None]
    aim = target if target is not None and _is_near(series, target) else None
    ticks, is_log = value_ticks(known if aim is None else [*known, aim], quantity)
    y = Scale(low=ticks[0], high=ticks[-1], start=HEIGHT - BOTTOM, end=TOP, is_log=is_log)
    drawn = [line for line in series if any(value is not None for value in line.values)]
    label = quantity.label
    return picture(
        name,
        title,
        describe(series, label) + (f" Target {label(target)}." if target is not None else ""),
        axes(span, ticks, y, label),
        _target(y(aim)) if aim is not None else "",
        *(_path(line, span, y) for line in reversed(drawn)),
        _names(drawn, span, y) if named and drawn else "",
        width=WIDTH,
        height=HEIGHT,
    )


def key(series: Sequence[Line], quantity: Quantity, *, target: float | None = None) -> list[tuple[str, str]]:
    """The legend of a picture of lines: (CSS classes, name), a target at the end."""
    drawn = [(f"stroke {line.tone}", line.name) for line in series]
    if target is None:
        return drawn
    where = "" if _is_near(series, target) else ", above the axis"
    return [*drawn, ("stroke aim", f"target {quantity.label(target)}{where}")]


def describe(series: Sequence[Line], label: Format) -> str:
    """The lines in words, for those who do not see them."""
    return " ".join(_sentence(line, label) for line in series) or "No data."


def _sentence(line: Line, label: Format) -> str:
    known = [value for value in line.values if value is not None]
    if not known:
        return f"{line.name}: no data."
    return f"{line.name}: lowest {label(min(known))}, highest {label(max(known))}, last {label(known[-1])}."


def runs(values: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    """Values without a gap between them, each run with the index of its first."""
    found: list[tuple[int, list[float]]] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        if found and found[-1][0] + len(found[-1][1]) == index:
            found[-1][1].append(value)
        else:
            found.append((index, [value]))
    return found


def _path(line: Line, span: Span, y: Scale) -> Markup:
    middles = _middles(span)
    parts = []
    for first, values in runs(line.values):
        points = [f"{middles[first + i]:.1f},{y(value):.1f}" for i, value in enumerate(values)]
        if len(points) == 1:
            parts.append(element("circle", class_=f"dot {line.tone}", cx=middles[first], cy=y(values[0]), r=2.0))
        else:
            parts.append(element("polyline", class_=f"line {line.tone}", points=" ".join(points)))
    return joined(*parts)


def _names(drawn: Sequence[Line], span: Span, y: Scale) -> Markup:
    """Names beside the last points, below each other right of the one that goes furthest."""
    lasts = [max(index for index, value in enumerate(line.values) if value is not None) for line in drawn]
    places = [(line.name, y(line.values[last] or 0.0), line.tone) for line, last in zip(drawn, lasts, strict=True)]
    return end_labels(places[::-1], x=_middles(span)[max(lasts)])


def _middles(span: Span) -> list[float]:
    x = time_scale(span)
    return [x(min(start + span.step_s / 2, span.to_s)) for start in span.starts]


def _target(height: float) -> Markup:
    return element("line", class_="target", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height)


def _is_near(series: Sequence[Line], target: float) -> bool:
    highest = max((value for line in series for value in line.values if value is not None), default=0.0)
    return target <= FAR * highest
