"""Areas over time, stacked: what a total is made of."""

from collections.abc import Sequence

from pipeline.report.markup import Markup, element
from pipeline.report.numbers import Quantity
from pipeline.report.plots.frame import BOTTOM, HEIGHT, TOP, WIDTH, Span, axes, picture, time_scale
from pipeline.report.plots.lines import Line, describe
from pipeline.report.plots.scales import Scale, value_ticks


def areas(name: str, title: str, span: Span, series: Sequence[Line], quantity: Quantity) -> Markup:
    """A picture of the series, the first at the bottom, as steps: a bucket's value holds for all of it."""
    sums = stacked([line.values for line in series])
    ticks, _ = value_ticks(sums[-1], quantity)
    y = Scale(low=ticks[0], high=ticks[-1], start=HEIGHT - BOTTOM, end=TOP)
    shapes = [
        element("path", element("title", line.name), class_=f"area {line.tone}", d=_band(span, below, above, y))
        for line, below, above in zip(series, sums, sums[1:], strict=False)
    ]
    return picture(
        name,
        title,
        describe(series, quantity.label),
        axes(span, ticks, y, quantity.label),
        *shapes,
        width=WIDTH,
        height=HEIGHT,
    )


def stacked(rows: Sequence[Sequence[float | None]]) -> list[list[float]]:
    """Running sums: zeros, the first row, the first two rows, …"""
    sums = [[0.0] * (len(rows[0]) if rows else 0)]
    for row in rows:
        sums.append([total + (value or 0.0) for total, value in zip(sums[-1], row, strict=True)])
    return sums


def _band(span: Span, below: Sequence[float], above: Sequence[float], y: Scale) -> str:
    x = time_scale(span)
    edges = [(x(start), x(min(start + span.step_s, span.to_s))) for start in span.starts]
    there = [f"{left:.1f},{y(v):.1f} {right:.1f},{y(v):.1f}" for (left, right), v in zip(edges, above, strict=True)]
    back = [f"{right:.1f},{y(v):.1f} {left:.1f},{y(v):.1f}" for (left, right), v in zip(edges, below, strict=True)]
    return f"M{' '.join([*there, *reversed(back)])}Z"
