"""The page about a simulation: how ways of batching compare on one trace. Pure."""

from collections.abc import Sequence

from pipeline.report import numbers
from pipeline.report.markup import Markup, element
from pipeline.report.page import Column, document, figure, figures, table
from pipeline.report.plots.bars import Bar, lying
from pipeline.report.simulation_figures import about, figures_of, notes
from pipeline.simulation.scenario import Outcome, Scenario


def simulation_page(trace: str, scenario: Scenario, outcomes: Sequence[Outcome], *, span_s: float) -> str:
    """One HTML page.

    Args:
        trace: its name.
        scenario: what was played.
        outcomes: at least one.
        span_s: from the first arrival to the last.
    """
    return document(
        f"What if: {trace}",
        element(
            "header",
            element("h1", f"What if: {trace}"),
            element("p", about(scenario, outcomes, span_s=span_s), class_="quiet"),
        ),
        element("main", _plots(scenario, outcomes), _table(scenario, outcomes), _notes(scenario, outcomes)),
    )


def _plots(scenario: Scenario, outcomes: Sequence[Outcome]) -> Markup:
    goodput = [_bar(one, one.goodput_ratio, numbers.share(one.goodput_ratio), "c1") for one in outcomes]
    batch = [_bar(one, one.batch_mean, numbers.digits(one.batch_mean), "c3") for one in outcomes]
    cost = [_bar(one, one.usd_per_1k_good or 0.0, _cost(one), "c4") for one in outcomes]
    unit = "sequences decoded at once, mean" if scenario.answers_stream else "requests, mean"
    return figures(
        figure("Goodput", "share answered within the target", lying("goodput", "Goodput", goodput)),
        _waiting(scenario, outcomes),
        figure("Batch", unit, lying("batch", "Mean batch", batch)),
        figure("Cost", "US dollars for 1,000 good answers", lying("cost", "Cost of 1,000 good answers", cost)),
    )


def _waiting(scenario: Scenario, outcomes: Sequence[Outcome]) -> Markup:
    title = "Time to first token" if scenario.answers_stream else "Latency"
    times_ms = [one.latency_p99_ms if one.ttft_p99_ms is None else one.ttft_p99_ms for one in outcomes]
    bars = [_bar(one, ms, numbers.duration_ms(ms), "c2") for one, ms in zip(outcomes, times_ms, strict=True)]
    return figure(title, "99th percentile", lying("waiting", f"{title}, p99", bars))


def _table(scenario: Scenario, outcomes: Sequence[Outcome]) -> Markup:
    columns = [Column(head="", kind="name"), *(Column(head=one.policy) for one in outcomes)]
    rows = [(told.head, *map(told.of, outcomes)) for told in figures_of(scenario, outcomes)]
    return table("All figures", "one column for each way of batching", columns, rows)


def _notes(scenario: Scenario, outcomes: Sequence[Outcome]) -> Markup:
    said = (element("li", note) for note in notes(scenario, outcomes))
    return element("section", element("h2", "What they mean"), element("ul", *said, class_="quiet"))


def _bar(outcome: Outcome, value: float, label: str, tone: str) -> Bar:
    return Bar(name=outcome.policy, parts=((tone, value),), label=label)


def _cost(outcome: Outcome) -> str:
    return "no good answer" if outcome.usd_per_1k_good is None else numbers.money(outcome.usd_per_1k_good)
