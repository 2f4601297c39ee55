"""The one look of tables: no lines, a quiet head, numbers to the right."""

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from pipeline.cli.checks.check import State

SIGNS: Final[dict[State, tuple[str, str]]] = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def table(title: str = "", *, caption: str = "") -> Table:
    """An empty table."""
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        caption=caption or None,
        caption_justify="left",
        caption_style="dim",
        box=None,
        header_style="dim",
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )


def columns(view: Table, *, left: Sequence[str] = (), right: Sequence[str] = (), last: Sequence[str] = ()) -> Table:
    """Add columns: text to the left, numbers to the right, and at last more text."""
    for name in left:
        view.add_column(name, no_wrap=True)
    for name in right:
        view.add_column(name, justify="right", no_wrap=True)
    for name in last:
        view.add_column(name)
    return view


def sign(state: State) -> Text:
    """A tick, an exclamation mark or a cross."""
    mark, style = SIGNS[state]
    return Text(mark, style=style)


def count(number: int) -> str:
    """A whole number with thousands apart."""
    return f"{number:,}"


def duration(seconds: float) -> str:
    """A length of time for people: `12 ms`, `3.4 s`, `5 min 10 s`, `2 h 05 min`, `3 days`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02d} s" if rest_s else f"{minutes} min"
    hours, rest_min = divmod(minutes, 60)
    if hours < 72:
        return f"{hours} h {rest_min:02d} min" if rest_min else f"{hours} h"
    return f"{hours / 24:.3g} days"
