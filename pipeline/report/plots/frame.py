"""What all plots over time share: measures of the picture, axes, grid, labels beside the ends of lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.report.markup import Markup, element, joined
from pipeline.report.numbers import Format
from pipeline.report.plots.scales import Scale, time_label, time_ticks

WIDTH: Final = 420.0
HEIGHT: Final = 216.0
LEFT: Final = 52.0
RIGHT: Final = 42.0
TOP: Final = 10.0
BOTTOM: Final = 24.0
LABEL_GAP: Final = 12.0
"""Least distance between the base lines of two labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A range of time in equal steps, in seconds since the epoch: buckets start at `from_s`, `from_s + step_s`, …"""

    from_s: int
    to_s: int
    step_s: int

    @property
    def starts(self) -> range:
        """When each bucket begins."""
        return range(self.from_s, self.to_s, self.step_s)

    @property
    def length_s(self) -> int:
        """From the first bucket's beginning to the end."""
        return self.to_s - self.from_s


def picture(name: str, title: str, description: str, *content: str, width: float, height: float) -> Markup:
    """An `<svg>` that scales with its place and tells a screen reader what it shows. `name` is unique on its page."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def time_scale(span: Span) -> Scale:
    """The horizontal axis."""
    return Scale(low=span.from_s, high=span.to_s, start=LEFT, end=WIDTH - RIGHT)


def axes(span: Span, ticks: Sequence[float], y: Scale, label: Format) -> Markup:
    """Grid and labels: values to the left, times below."""
    x = time_scale(span)
    rows = [
        joined(
            element("line", class_="zero" if index == 0 else "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick)),
            element("text", label(tick), class_="tick", x=LEFT - 6, y=y(tick) + 3.5, text_anchor="end"),
        )
        for index, tick in enumerate(ticks)
    ]
    base = HEIGHT - BOTTOM
    times = time_ticks(span.from_s, span.to_s, at_most=5)
    columns = [
        joined(
            element("line", class_="mark", x1=x(at), x2=x(at), y1=base, y2=base + 3),
            element(
                "text",
                time_label(at, length_s=span.length_s),
                class_="tick",
                x=x(at),
                y=base + 15,
                text_anchor="middle",
            ),
        )
        for at in times
    ]
    return element("g", *rows, *columns)


def end_labels(places: Sequence[tuple[str, float, str]], *, x: float) -> Markup:
    """Names of lines whose right ends are at `x`, moved apart where they would meet: (text, height, CSS class)."""
    ordered = sorted(places, key=lambda place: place[1])
    heights = apart([height for _, height, _ in ordered], low=TOP + 4, high=HEIGHT - BOTTOM)
    return joined(
        *(
            element("text", text, class_=f"name {tone}", x=x + 6, y=height + 3.5)
            for (text, _, tone), height in zip(ordered, heights, strict=True)
        )
    )


def apart(heights: Sequence[float], *, low: float, high: float) -> list[float]:
    """Ascending heights at least `LABEL_GAP` apart, as near to where they were as can be: those that meet share it.

    Source: isotonic regression by pooling adjacent violators, of the heights less their places in the pile.
    """
    pools: list[tuple[float, int]] = []
    for index, height in enumerate(heights):
        mean, count = height - index * LABEL_GAP, 1
        while pools and pools[-1][0] > mean:
            before, others = pools.pop()
            mean, count = (before * others + mean * count) / (others + count), others + count
        pools.append((mean, count))
    highest = high - (len(heights) - 1) * LABEL_GAP
    bases = [min(max(mean, low), highest) for mean, count in pools for _ in range(count)]
    return [base + index * LABEL_GAP for index, base in enumerate(bases)]
