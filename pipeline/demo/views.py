"""The demo's tables: narrow enough for 80 columns, latency with a column per class."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.cli.account import Answer
from pipeline.cli.views.table import columns, table

CLASSES = ("realtime", "interactive", "bulk")


def latency_view(answer: Answer) -> Table:
    """`latency_by_class_and_station` turned: a row per station, median and 95th percentile per class, in ms."""
    at = {name: index for index, name in enumerate(answer.columns)}
    cells = {
        (row[at["station"]], row[at["latency_class"]]): (row[at["step_p50_ms"]], row[at["step_p95_ms"]])
        for row in answer.rows
    }
    view = table("Latency from station to station, p50 / p95 in ms")
    columns(view, left=["station"], right=list(CLASSES))
    for station in dict.fromkeys(str(row[at["station"]]) for row in answer.rows):
        view.add_row(station, *(_pair(cells.get((station, name))) for name in CLASSES))
    return view


def answer_view(title: str, answer: Answer, wanted: Sequence[str]) -> Table:
    """Some columns of an answer, under names without underscores; numbers to the right."""
    at = [list(answer.columns).index(name) for name in wanted]
    rows = [[row[index] for index in at] for row in answer.rows]
    view = table(title)
    for index, name in enumerate(wanted):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        columns(view, **{"right" if numeric else "left": [name.replace("_", " ")]})
    for row in rows:
        view.add_row(*map(_cell, row))
    return view


def _pair(value: tuple[object, object] | None) -> str:
    return "-" if value is None else f"{_cell(value[0])} / {_cell(value[1])}"


def _cell(value: object) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
