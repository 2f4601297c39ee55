"""The page about a simulation: how ways of batching compare on one trace. Pure."""

from collections.abc import Sequence

from pipeline.report import numbers
from pipeline.report.markup import Markup, element
from pipeline.report.page import Column, document, figure, figures, table
from pipeline.report.plots.bars import Bar, lying
from pipeline.simulation.llm.replay import Outcome, Scenario


def simulation_page(trace: str, scenario: Scenario, outcomes: Sequence[Outcome]) -> str:
    """One HTML page."""
    about = f"{outcomes[0].requests:,} requests on {scenario.workers} workers, {scenario.speed:g} times as fast"
    return document(
        f"What if: {trace}",
        element("header", element("h1", f"What if: {trace}"), element("p", about, class_="quiet")),
        element("main", _plots(outcomes), _table(outcomes)),
    )


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One row."""
    cost = outcome.usd_per_1k_good
    return (
        outcome.policy,
        numbers.share(outcome.goodput_ratio),
        numbers.share(outcome.rejected_ratio),
        numbers.duration_ms(outcome.ttft_p50_ms),
        numbers.duration_ms(outcome.ttft_p99_ms),
        numbers.duration_ms(outcome.tpot_p50_ms),
        numbers.duration_ms(outcome.tpot_p99_ms),
        f"{outcome.batch_mean:.0f}",
        f"{outcome.gpu_hours:.3g}",
        "-" if cost is None else numbers.money(cost),
    )


def _plots(outcomes: Sequence[Outcome]) -> Markup:
    goodput = [_bar(one, one.goodput_ratio, numbers.share(one.goodput_ratio), "c1") for one in outcomes]
    first = [_bar(one, one.ttft_p99_ms, numbers.duration_ms(one.ttft_p99_ms), "c2") for one in outcomes]
    batch = [_bar(one, one.batch_mean, f"{one.batch_mean:.0f}", "c3") for one in outcomes]
    cost = [_bar(one, one.usd_per_1k_good or 0.0, _cost(one), "c4") for one in outcomes]
    return figures(
        figure("Goodput", "share answered within the SLO", lying("goodput", "Goodput", goodput)),
        figure("Time to first token", "99th percentile", lying("ttft", "Time to first token, p99", first)),
        figure("Batch", "sequences decoded at once, mean", lying("batch", "Mean batch", batch)),
        figure("Cost", "US dollars for 1,000 good answers", lying("cost", "Cost of 1,000 good answers", cost)),
    )


def _table(outcomes: Sequence[Outcome]) -> Markup:
    heads = ("goodput", "rejected", "TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99", "batch", "GPU-h", "$ / 1k good")
    columns = [Column(head="policy", kind="name"), *(Column(head=head) for head in heads)]
    return table("All figures", "one row for each way of batching", columns, [cells(one) for one in outcomes])


def _bar(outcome: Outcome, value: float, label: str, tone: str) -> Bar:
    return Bar(name=outcome.policy, parts=((tone, value),), label=label)


def _cost(outcome: Outcome) -> str:
    return "no good answer" if outcome.usd_per_1k_good is None else numbers.money(outcome.usd_per_1k_good)
