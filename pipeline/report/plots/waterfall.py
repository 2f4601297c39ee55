"""A waterfall: stretches of time below each other, in groups with a heading."""

from collections.abc import Sequence
from typing import Final

from pipeline.report import numbers
from pipeline.report.markup import Markup, element, joined
from pipeline.report.plots.frame import picture
from pipeline.report.plots.scales import Scale, nice_ticks
from pipeline.report.story import Stretch, Track

WIDTH: Final = 860.0
NAMES: Final = 96.0
LENGTHS: Final = 150.0
ROW: Final = 22.0
HEAD: Final = 26.0
TOP: Final = 18.0
EM_SPACE: Final = "\u2003"
"""Ordinary spaces beside each other are drawn as one."""


def waterfall(name: str, title: str, tracks: Sequence[Track], *, whole_us: int, deadline_us: int = 0) -> Markup:
    """A picture of all tracks on one axis, milliseconds after the record. The deadline is drawn if it is in reach."""
    ticks = _ticks(whole_us / 1000)
    x = Scale(low=0.0, high=max(ticks[-1], whole_us / 1000), start=NAMES, end=WIDTH - LENGTHS)
    rows, top = [], TOP
    for track in tracks:
        rows.append(_head(track, top))
        top += HEAD
        for stretch in track.stretches:
            rows.append(_row(stretch, top, x))
            top += ROW
        top += 8
    words = " ".join(_words(track) for track in tracks)
    bottom = top
    return picture(
        name, title, words, _grid(ticks, x, bottom), _deadline(deadline_us, x, bottom), *rows, width=WIDTH, height=top
    )


def _ticks(whole_ms: float) -> list[float]:
    unit = numbers.duration_unit(whole_ms)
    ticks = [tick * unit for tick in nice_ticks(whole_ms / unit, at_most=6)]
    return [tick for tick in ticks if tick <= whole_ms] if whole_ms else ticks


def _grid(ticks: Sequence[float], x: Scale, bottom: float) -> Markup:
    return joined(
        *(
            joined(
                element("line", class_="grid", x1=x(tick), x2=x(tick), y1=TOP - 4, y2=bottom),
                element("text", numbers.duration_ms(tick), class_="tick", x=x(tick), y=TOP - 8, text_anchor="middle"),
            )
            for tick in ticks
        )
    )


def _deadline(deadline_us: int, x: Scale, bottom: float) -> Markup:
    at_ms = deadline_us / 1000
    if not 0 < at_ms <= x.high:
        return Markup()
    return joined(
        element("line", class_="target", x1=x(at_ms), x2=x(at_ms), y1=TOP - 4, y2=bottom),
        element("text", "deadline", class_="aim", x=x(at_ms) - 4, y=bottom - 4, text_anchor="end"),
    )


def _head(track: Track, top: float) -> Markup:
    words = joined(
        element("tspan", track.name, font_weight="600"),
        element("tspan", f"{EM_SPACE}{track.place}{EM_SPACE}", class_="quiet"),
        element("tspan", f"{track.outcome} ✓" if track.is_accepted else track.outcome),
    )
    return element("text", words, class_="station", x=0, y=top + 17)


def _row(stretch: Stretch, top: float, x: Scale) -> Markup:
    left, right = x(stretch.begins_us / 1000), x(stretch.ends_us / 1000)
    return element(
        "g",
        element("title", f"{stretch.station}: {stretch.meaning}, {numbers.duration_ms(stretch.length_ms)}"),
        element("text", stretch.station, class_="tick", x=NAMES - 8, y=top + 14, text_anchor="end"),
        element(
            "rect", class_=f"area {stretch.tone}", x=left, y=top + 3, width=max(right - left, 1.5), height=ROW - 7, rx=2
        ),
        element(
            "text", numbers.duration_ms(stretch.length_ms), class_="value", x=max(right, left + 1.5) + 6, y=top + 14
        ),
    )


def _words(track: Track) -> str:
    parts = ", ".join(f"{s.station} after {numbers.duration_ms(s.length_ms)}" for s in track.stretches)
    return f"{track.name}: {parts or 'nothing'}; {track.outcome}."
