"""Bars: lying ones with parts for what has names, standing ones for how often each size came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.report.markup import Markup, element, joined
from pipeline.report.numbers import Format
from pipeline.report.plots.frame import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, picture
from pipeline.report.plots.scales import Scale, nice_ticks

ROW: Final = 24.0
NAMES: Final = 108.0
VALUES: Final = 112.0
NAME_CHARS: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A named bar of parts (CSS class, value), and what stands beside it."""

    name: str
    parts: tuple[tuple[str, float], ...]
    label: str

    @property
    def total(self) -> float:
        """Its length."""
        return sum(value for _, value in self.parts)


def lying(name: str, title: str, bars: Sequence[Bar]) -> Markup:
    """Bars below each other, names to the left, labels to the right of the longest place."""
    longest = max((bar.total for bar in bars), default=0.0)
    x = Scale(low=0.0, high=longest or 1.0, start=NAMES, end=WIDTH - VALUES)
    rows = [_row(bar, index, x) for index, bar in enumerate(bars)]
    words = " ".join(f"{bar.name}: {bar.label}." for bar in bars) or "No data."
    return picture(name, title, words, *rows, width=WIDTH, height=ROW * max(len(bars), 1) + 4)


def standing(name: str, title: str, sizes: Sequence[tuple[str, float]], label: Format) -> Markup:
    """A column per name, in their order."""
    ticks = nice_ticks(max((value for _, value in sizes), default=0.0))
    y = Scale(low=0.0, high=ticks[-1], start=HEIGHT - BOTTOM, end=TOP)
    right = WIDTH - 10
    pitch = (right - LEFT) / max(len(sizes), 1)
    columns = [_column(size, LEFT + index * pitch, pitch, y, label) for index, size in enumerate(sizes)]
    words = " ".join(f"{size}: {label(value)}." for size, value in sizes) or "No data."
    return picture(name, title, words, _rows(ticks, y, right, label), *columns, width=WIDTH, height=HEIGHT)


def shortened(text: str, chars: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _row(bar: Bar, index: int, x: Scale) -> Markup:
    top = index * ROW + 4
    parts, reached = [], 0.0
    for tone, value in bar.parts:
        left, right = x(reached), x(reached + value)
        reached += value
        parts.append(
            element("rect", class_=f"area {tone}", x=left, y=top, width=max(right - left, 0.0), height=ROW - 8)
        )
    return element(
        "g",
        element("title", f"{bar.name}: {bar.label}"),
        element("text", shortened(bar.name, NAME_CHARS), class_="tick", x=NAMES - 8, y=top + 12, text_anchor="end"),
        *parts,
        element("text", bar.label, class_="value", x=x(reached) + 6, y=top + 12),
    )


def _column(size: tuple[str, float], left: float, pitch: float, y: Scale, label: Format) -> Markup:
    name, value = size
    base = HEIGHT - BOTTOM
    width = min(pitch * 0.72, 44.0)
    middle = left + pitch / 2
    return element(
        "g",
        element("title", f"{name}: {label(value)}"),
        element("rect", class_="area c1", x=middle - width / 2, y=y(value), width=width, height=base - y(value)),
        element("text", name, class_="tick", x=middle, y=base + 15, text_anchor="middle"),
    )


def _rows(ticks: Sequence[float], y: Scale, right: float, label: Format) -> Markup:
    return joined(
        *(
            joined(
                element("line", class_="grid" if tick else "zero", x1=LEFT, x2=right, y1=y(tick), y2=y(tick)),
                element("text", label(tick), class_="tick", x=LEFT - 6, y=y(tick) + 3.5, text_anchor="end"),
            )
            for tick in ticks
        )
    )
