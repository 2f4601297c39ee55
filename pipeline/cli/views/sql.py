"""Rows of a query, and the list of named queries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipeline.cli.account import Answer
from pipeline.cli.views.table import table
from sinks.clickhouse.queries import Query


def answer_table(title: str, answer: Answer) -> Table:
    """Rows under their column names; numbers to the right."""
    rows = len(answer.rows)
    view = table(title, caption=f"{rows:,} row{'' if rows == 1 else 's'}")
    for index, name in enumerate(answer.columns):
        numeric = bool(answer.rows) and all(_is_number(row[index]) for row in answer.rows)
        view.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in answer.rows:
        view.add_row(*map(cell, row))
    return view


def answer_view(title: str, answer: Answer, console: Console) -> RenderableType:
    """Rows as a table where they fit the width, one below the other where they do not."""
    view = answer_table(title, answer)
    wide = Measurement.get(console, console.options.update(max_width=10_000), view).maximum
    return view if wide <= console.width else answer_blocks(title, answer)


def answer_blocks(title: str, answer: Answer) -> RenderableType:
    """Every row as a block of names and values; what is empty is left out."""
    parts: list[RenderableType] = [Text(title, style="bold")] if title else []
    for number, row in enumerate(answer.rows, start=1):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in zip(answer.columns, row, strict=True):
            if value is not None and value != "":
                grid.add_row(name, cell(value))
        parts += [Text(f"row {number}", style="cyan"), grid]
    return Group(*parts)


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


def cell(value: Any) -> Text:
    """A value for people: thousands apart, times without their zone, nothing as a dim dash."""
    if value is None or value == "" or value != value:
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text(str(value).lower())
    if isinstance(value, int):
        return Text(f"{value:,}")
    if isinstance(value, float):
        return Text(f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}")
    if isinstance(value, datetime):
        return Text(value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3])
    return Text(value.hex() if isinstance(value, bytes) else str(value))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
