"""How ways of batching compare on one trace."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.cli.views.table import columns, table
from pipeline.report.simulation_figures import Figure, about, figures_of, notes
from pipeline.simulation.scenario import Outcome, Scenario

_GAP: Final = 2


def comparison(name: str, scenario: Scenario, outcomes: Sequence[Outcome], *, span_s: float, width: int) -> Group:
    """A column for each way of batching, the best goodput in bold, and below that what the figures mean.

    Args:
        name: of the trace.
        scenario: what was played.
        outcomes: at least one.
        span_s: from the first arrival to the last.
        width: in characters; columns that do not fit go into a table of their own.
    """
    figures = figures_of(scenario, outcomes)
    ratios = {one.goodput_ratio for one in outcomes}
    best = max(ratios) if len(ratios) > 1 else None
    parts: list[Table | Text | str] = [Text(name, style="bold"), about(scenario, outcomes, span_s=span_s), ""]
    for together in _fitting(figures, outcomes, width):
        parts += [_table(figures, together, best), ""]
    return Group(*parts, *(Text(note, style="dim") for note in notes(scenario, outcomes)))


def _fitting(figures: Sequence[Figure], outcomes: Sequence[Outcome], width: int) -> Iterator[list[Outcome]]:
    """The ways of batching that stand beside each other, one at least."""
    heads = max(len(figure.head) for figure in figures)
    together: list[Outcome] = []
    room = width - heads
    for one in outcomes:
        wide = _GAP + max(len(one.policy), *(len(figure.of(one)) for figure in figures))
        if together and wide > room:
            yield together
            together, room = [], width - heads
        together.append(one)
        room -= wide
    yield together


def _table(figures: Sequence[Figure], outcomes: Sequence[Outcome], best: float | None) -> Table:
    view = columns(table(), left=("",), right=[one.policy for one in outcomes])
    for figure in figures:
        cells = (Text(figure.of(one), style="bold" if one.goodput_ratio == best else "") for one in outcomes)
        view.add_row(figure.head, *cells)
    return view
