"""Rows of a query, and the list of named queries."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.cli.account import Answer
from pipeline.cli.views.cells import NOTHING, is_numeric, texts
from pipeline.cli.views.table import table
from sinks.clickhouse.queries import Query

ATTEMPTS: Final = ((False, False, 2), (True, False, 2), (True, True, 2), (True, True, 1))
"""At fitting a table: whether values are short, whether texts are folded, and the spaces between two columns."""
_PART: Final = re.compile(r"[^_./@: -]*[_./@: -]+|[^_./@: -]+")
NARROWEST: Final = 12
"""Text is folded to no fewer characters than this; where that is not enough, rows stand one below the other."""


@dataclass(slots=True, kw_only=True)
class _Column:
    """A column of a table that is being fitted: its name, its cells, and how wide it is."""

    name: str
    cells: list[str]
    is_numeric: bool
    is_foldable: bool
    width: int = 0

    @property
    def widest(self) -> int:
        """Of its cells."""
        return max(map(len, self.cells), default=0)

    @property
    def head(self) -> list[str]:
        """The name in lines of the column's width."""
        return broken(self.name, self.width)

    @property
    def narrowest(self) -> int:
        """Without folding a cell."""
        return max([self.widest, *map(len, _parts(self.name))])

    @property
    def least(self) -> int:
        """With its cells folded."""
        return max([min(self.widest, NARROWEST), *map(len, _parts(self.name))])


def answer_view(title: str, answer: Answer, *, width: int) -> RenderableType:
    """Rows as a table where they fit `width` columns of characters, one below the other where they do not.

    Names are broken first, then decimals and parts of seconds go, then long texts are folded and columns move together.
    """
    for short, fold, gap in ATTEMPTS:
        columns = _columns(answer, short=short)
        if _fitted(columns, width - gap * (len(columns) - 1), fold=fold):
            return _titled(title, [_table(columns, len(answer.rows), gap)], len(answer.rows))
    return _titled(title, _blocks(_columns(answer, short=False), len(answer.rows)), len(answer.rows))


def broken(text: str, width: int) -> list[str]:
    """A name in lines of a width, broken where a part of it ends."""
    lines = [""]
    for part in _parts(text):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def queries_table(queries: Sequence[Query]) -> RenderableType:
    """Each query with what its rows mean and its parameters."""
    parts: list[RenderableType] = []
    for query in queries:
        parts.append(Text.assemble((query.name, "bold"), f"  {query.title}"))
        parts.append(Text(f"  {query.meaning}", style="dim"))
        for parameter in query.parameters:
            value = "needed" if parameter.default is None else f"default {parameter.default}"
            parts.append(Text(f"  --param {parameter.name}=…  {parameter.meaning} ({parameter.type}, {value})"))
        parts.append("")
    return Group(*parts[:-1])


def _columns(answer: Answer, *, short: bool) -> list[_Column]:
    found = []
    for index, name in enumerate(answer.columns):
        values: list[Any] = [row[index] for row in answer.rows]
        cells = texts(name, values, short=short)
        is_text = any(isinstance(value, str | bytes | list | tuple | dict) for value in values)
        found.append(_Column(name=name, cells=cells, is_numeric=is_numeric(name, values), is_foldable=is_text))
    return found


def _fitted(columns: Sequence[_Column], room: int, *, fold: bool) -> bool:
    """Give every column its width; False where that is too much, though names are broken and texts folded (`fold`)."""
    for column in columns:
        column.width = column.narrowest
    while (over := sum(column.width for column in columns) - room) > 0:
        foldable = [column for column in columns if fold and column.is_foldable and column.width > column.least]
        if not foldable:
            return False
        widest = max(foldable, key=lambda column: column.width)
        second = sorted(column.width for column in foldable)[-2:][0] if len(foldable) > 1 else 0
        widest.width = max(widest.width - over, widest.least, second - 1)
    _widen(columns, -over)
    return True


def _widen(columns: Sequence[_Column], spare: int) -> None:
    """Spend what is left on the names that take most lines, as long as that makes the head lower."""
    while spare > 0:
        column = max(columns, key=lambda column: len(column.head), default=None)
        if column is None or len(column.head) == 1:
            return
        lines, before = len(column.head), column.width
        while len(column.head) == lines and column.width - before < spare:
            column.width += 1
        if len(column.head) == lines:
            column.width = before
            return
        spare -= column.width - before


def _titled(title: str, views: Sequence[RenderableType], rows: int) -> RenderableType:
    """A table may be narrower than what is said about it."""
    above = [Text(title, style="bold")] if title else []
    return Group(*above, *views, Text(f"{rows:,} row{'' if rows == 1 else 's'}", style="dim"))


def _table(columns: Sequence[_Column], rows: int, gap: int) -> Table:
    view = table()
    view.padding = (0, gap, 0, 0)
    lines = max((len(column.head) for column in columns), default=1)
    for column in columns:
        head = [""] * (lines - len(column.head)) + column.head
        justify: Literal["left", "right"] = "right" if column.is_numeric else "left"
        view.add_column(
            Text("\n".join(head), justify=justify), justify=justify, width=column.width or 1, overflow="fold"
        )
    for index in range(rows):
        view.add_row(*(_cell(column.cells[index], column.width) for column in columns))
    return view


def _blocks(columns: Sequence[_Column], rows: int) -> list[RenderableType]:
    """Every row as a block of names and values; what is empty is left out."""
    parts: list[RenderableType] = []
    for index in range(rows):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for column in columns:
            if column.cells[index] != NOTHING:
                grid.add_row(column.name, Text(column.cells[index]))
        parts += [Text(f"row {index + 1}", style="cyan"), grid]
    return parts


def _cell(text: str, width: int) -> Text:
    lines = broken(text, width) if len(text) > width else [text]
    return Text("\n".join(lines), style="dim" if text == NOTHING else "")


def _parts(text: str) -> list[str]:
    return _PART.findall(text) or [""]
