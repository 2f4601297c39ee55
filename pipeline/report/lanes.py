"""Sections of a report about lanes: latency, throughput, batches and queues. From facts to markup; pure."""

from collections.abc import Callable, Sequence
from typing import Final

from pipeline.report import numbers, series
from pipeline.report.facts import BatchReason, BatchSize, ClassFact, Engines, Facts, Latency, Percentiles, Queue
from pipeline.report.markup import Markup, element
from pipeline.report.page import Column, figure, figures, section, table
from pipeline.report.plots.areas import areas
from pipeline.report.plots.bars import Bar, lying, standing
from pipeline.report.plots.frame import Span
from pipeline.report.plots.lines import Line, key, lines
from pipeline.report.tables import milliseconds, parts, three

LANES: Final = 6
"""So many lanes get plots of their own, the busiest first; the table has all."""
PERCENTILES: Final = ("p50", "p95", "p99")


def latency(facts: Facts, span: Span) -> Markup:
    """Percentiles over time for each lane, and the table of classes."""
    groups = series.by(facts.latencies, lambda row: f"{row.model} · {row.latency_class}", lambda row: row.requests)
    targets = {f"{row.model} · {row.latency_class}": row for row in facts.classes}
    plots: list[Markup] = []
    for index, (lane, rows) in enumerate(list(groups.items())[:LANES]):
        target = targets.get(lane)
        first, whole = (target.target_ttft_ms, target.target_e2e_ms) if target else (0.0, 0.0)
        plots.append(_latency(f"ttft-{index}", f"{lane}: first token", span, rows, _first, first))
        plots.append(_latency(f"e2e-{index}", f"{lane}: whole answer", span, rows, _whole, whole))
    about = (
        "Completed requests, by the time they were produced: half of them were faster than p50, one in a hundred "
        "slower than p99, which lies under p95 where there are too few to tell them apart. A plot whose values differ "
        "much has a logarithmic axis."
    )
    return section("Latency", about, classes_table(facts.classes), figures(*plots))


def throughput(facts: Facts, span: Span) -> Markup:
    """Requests and tokens that came to their end, over time."""
    groups = series.by(facts.throughput, lambda row: row.latency_class, lambda row: row.requests)
    ended = series.toned(list(groups), lambda name: series.rates(span, groups[name], lambda row: row.requests))
    others = [row for row in facts.throughput if row.outcome != "completed"]
    outcomes = series.by(others, lambda row: row.outcome, lambda row: row.requests)
    unserved = series.toned(list(outcomes), lambda name: series.rates(span, outcomes[name], lambda row: row.requests))
    tokens = [
        Line(name="prompts", values=series.rates(span, facts.throughput, lambda row: row.tokens_prompt), tone="c1"),
        Line(name="answers", values=series.rates(span, facts.throughput, lambda row: row.tokens_made), tone="c2"),
    ]
    return section(
        "Throughput",
        "By the time at which requests ended, whatever their outcome.",
        figures(
            figure(
                "Requests ended",
                "per second, stacked by class",
                areas("ended", "Requests ended per second", span, ended, numbers.COUNT),
                legend=_legend(ended),
            ),
            figure(
                "Tokens",
                "per second",
                lines("tokens", "Tokens per second", span, tokens, numbers.COUNT),
                legend=key(tokens, numbers.COUNT),
            ),
            figure(
                "Requests that did not complete",
                "per second, stacked by outcome",
                areas("unserved", "Requests that did not complete per second", span, unserved, numbers.COUNT),
                legend=_legend(unserved),
            ),
        ),
    )


def batching(facts: Facts, span: Span) -> Markup:
    """What was put together, what waited meanwhile, and what the engines ran."""
    models = series.by(facts.queues, lambda row: row.model, lambda row: row.deepest)
    return section(
        "Batches and queues",
        "What the processors put together, what still waited then, and how many sequences the engines ran at once.",
        figures(
            _sizes(facts.batch_sizes),
            *_queues(models, span),
            *_running(facts.engines, span),
            _reasons(facts.batch_reasons),
        ),
    )


def classes_table(classes: Sequence[ClassFact]) -> Markup:
    """All lanes: how requests ended, percentiles, targets and whether they were kept."""
    columns = (
        Column(head="lane", kind="name"),
        *(Column(head=head) for head in ("requests", "completed", "first token p50 / p95 / p99", "per token p95")),
        *(Column(head=head) for head in ("whole answer p50 / p95 / p99", "target", "kept / objective")),
    )
    rows = [
        (
            f"{row.model} · {row.latency_class}",
            numbers.whole(row.requests),
            numbers.share(row.completed / row.requests),
            three(row.first_token_ms),
            milliseconds(row.tpot_p95_ms),
            three(row.whole_ms),
            _target(row),
            _kept(row),
        )
        for row in classes
    ]
    meaning = "Kept: requests that completed within the target, of all that were not cancelled."
    return table("Classes", meaning, columns, rows)


def size_classes(sizes: Sequence[BatchSize]) -> list[tuple[str, float]]:
    """Batches by size: single sizes up to 8, else up to powers of two; empty classes in between are kept."""
    largest = max((row.size for row in sizes), default=0)
    if largest <= 8:
        edges = [(size, size) for size in range(1, largest + 1)]
    else:
        edges = [(1, 1), (2, 2)]
        while edges[-1][1] < largest:
            edges.append((edges[-1][1] + 1, edges[-1][1] * 2))
    return [
        (str(low) if low == high else f"{low}–{high}", float(sum(r.batches for r in sizes if low <= r.size <= high)))
        for low, high in edges
    ]


def _first(row: Latency) -> Percentiles:
    return row.first_token_ms


def _whole(row: Latency) -> Percentiles:
    return row.whole_ms


def _latency(
    name: str,
    title: str,
    span: Span,
    rows: Sequence[Latency],
    kind: Callable[[Latency], Percentiles],
    target: float,
) -> Markup:
    percentiles = [
        Line(name=p, values=series.gaps(span, rows, lambda row, i=i: kind(row)[i]), tone=p)  # type: ignore[misc]
        for i, p in enumerate(PERCENTILES)
    ]
    if all(value is None for line in percentiles for value in line.values):
        return Markup()
    svg = lines(name, title, span, percentiles, numbers.DURATION_MS, target=target or None, named=True)
    legend = key(percentiles, numbers.DURATION_MS, target=target or None)
    return figure(title, "time from the request's record on", svg, legend=legend)


def _target(row: ClassFact) -> str:
    targets = (
        ("first", row.target_ttft_ms),
        ("each", row.target_tpot_ms),
        ("whole", row.target_e2e_ms),
    )
    told = [f"{what} {numbers.duration_ms(value)}" for what, value in targets if value]
    return parts(told, ", ") if told else "–"


def _kept(row: ClassFact) -> str:
    """How many kept the target, marked where that is less than promised."""
    if row.attainment != row.attainment:
        return "–"
    kept = numbers.share(row.attainment)
    if row.attainment < row.objective:
        kept = element("span", f"✗ {kept}", class_="missed")
    return parts([kept, numbers.share(row.objective)]) if row.objective else kept


def _sizes(sizes: Sequence[BatchSize]) -> Markup:
    svg = standing("sizes", "Batching decisions by size", size_classes(sizes), numbers.count)
    return figure("Batch sizes", "decisions, by the number of requests they put together", svg)


def _reasons(reasons: Sequence[BatchReason]) -> Markup:
    bars = [
        Bar(name=row.reason or "(none)", parts=(("c1", row.requests),), label=f"{numbers.whole(row.requests)} requests")
        for row in reasons[:8]
    ]
    svg = lying("reasons", "Requests by the reason of their batch", bars)
    return figure("Why batches left", "requests, by the reason of their dispatch", svg)


def _queues(models: dict[str, list[Queue]], span: Span) -> list[Markup]:
    if not models:
        return []
    deepest = series.toned(list(models), lambda name: series.gaps(span, models[name], lambda row: row.deepest))
    waits = series.toned(list(models), lambda name: series.gaps(span, models[name], lambda row: row.wait_p95_ms))
    depth = lines("depth", "Requests left waiting", span, deepest, numbers.COUNT)
    wait = lines("waits", "Wait of the longest waiting of a batch", span, waits, numbers.DURATION_MS)
    sizes = series.toned(list(models), lambda name: series.gaps(span, models[name], lambda row: row.mean_size))
    size = lines("mean-sizes", "Mean batch size", span, sizes, numbers.COUNT)
    return [
        figure("Mean batch size", "requests per decision", size, legend=key(sizes, numbers.COUNT)),
        figure(
            "Queue depth", "requests still waiting after a decision, most", depth, legend=key(deepest, numbers.COUNT)
        ),
        figure(
            "Wait before a batch", "of each batch's longest waiting, p95", wait, legend=key(waits, numbers.DURATION_MS)
        ),
    ]


def _running(engines: Sequence[Engines], span: Span) -> list[Markup]:
    if not engines:
        return []
    values = [
        Line(name="most", values=series.gaps(span, engines, lambda row: row.most_running), tone="c6"),
        Line(name="mean", values=series.gaps(span, engines, lambda row: row.mean_running), tone="c1"),
    ]
    svg = lines("running", "Sequences per engine step", span, values, numbers.COUNT)
    return [figure("Engine batches", "sequences that one engine step ran", svg, legend=key(values, numbers.COUNT))]


def _legend(drawn: Sequence[Line]) -> list[tuple[str, str]]:
    return [(line.tone, line.name) for line in drawn]
