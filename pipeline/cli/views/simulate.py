"""How ways of batching compare on one trace."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.cli.views.table import columns, table
from pipeline.report.simulation_page import cells
from pipeline.simulation.llm.replay import Outcome, Scenario


def outcomes_table(name: str, scenario: Scenario, outcomes: Sequence[Outcome]) -> Table:
    """A row for each way of batching, the best goodput in bold."""
    first = outcomes[0]
    caption = (
        f"{first.requests:,} requests on {scenario.workers} workers; goodput is what was answered within the SLO; "
        f"batch is the mean of sequences that a busy engine decodes at once; ${scenario.usd_per_gpu_hour:g} a GPU-hour"
    )
    view = table(name, caption=caption)
    columns(
        view,
        left=("policy",),
        right=("goodput", "rejected", "TTFT p50", "p99", "TPOT p50", "p99", "batch", "GPU-h", "$ / 1k good"),
    )
    best = max(outcome.goodput_ratio for outcome in outcomes)
    for outcome in outcomes:
        view.add_row(*cells(outcome), style="bold" if outcome.goodput_ratio == best else None)
    return view
