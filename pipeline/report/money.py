"""Sections of a report about GPU time: where it went, and who used it for how much. From facts to markup; pure."""

from collections.abc import Sequence
from typing import Final

from pipeline.report import numbers, series
from pipeline.report.facts import Facts, GpuTime, Tenant, Version
from pipeline.report.markup import Markup
from pipeline.report.page import Column, figure, figures, section, table
from pipeline.report.plots.areas import areas
from pipeline.report.plots.bars import Bar, lying
from pipeline.report.plots.frame import Span
from pipeline.report.plots.lines import Line
from pipeline.report.tables import milliseconds

NS_PER_S: Final = 1e9
TENANTS: Final = 12
"""So many tenants get a bar; the table has up to `ROWS`."""
ROWS: Final = 40
PARTS: Final = (("busy", "c1"), ("idle", "c7"), ("loading", "c5"), ("unobserved", "c2"))


def gpu_time(facts: Facts, span: Span) -> Markup:
    """Where GPU time went over time and in all, and what each version did with it."""
    total = [(name, tone, float(sum(getattr(row, name) for row in facts.gpu_time))) for name, tone in PARTS]
    return section(
        "GPU time",
        "Everything that was paid for: busy with requests, idle, loading a model, or unobserved between the last "
        "report of a worker that died and its next start.",
        figures(_split(facts.gpu_time, span), _totals(total), _used(facts.versions)),
        _versions(facts.versions),
    )


def costs(facts: Facts, *, plan: str) -> Markup:
    """Who used GPU time, and its price."""
    tenants = facts.tenants
    has_prices = any(row.useful_usd or row.wasted_usd for row in tenants)
    shown = [row for row in tenants if row.useful_ns + row.wasted_ns][:TENANTS]
    legend = [("c1", "useful"), ("c2", "wasted")]
    cost = lying("tenant-cost", "Cost per tenant", [_cost_bar(row) for row in shown])
    time = lying("tenant-time", "GPU time per tenant", [_time_bar(row) for row in shown])
    tokens = lying("tenant-tokens", "Tokens per tenant", [_tokens_bar(row) for row in tenants[:TENANTS]])
    kinds = [("c1", "prompt, computed"), ("c6", "prompt, from cache"), ("c2", "out")]
    return section(
        "Tenants",
        "GPU time of all attempts at requests of the range; wasted is what no accepted answer came from. "
        + _priced(tenants, plan, has_prices),
        figures(
            figure("Cost per tenant", "US dollars", cost, legend=legend) if has_prices else "",
            figure("GPU time per tenant", "time × GPUs", time, legend=legend),
            figure("Tokens per tenant", "prompts and answers", tokens, legend=kinds),
        ),
        _tenants(tenants, has_prices=has_prices),
    )


def _priced(tenants: Sequence[Tenant], plan: str, has_prices: bool) -> str:
    if not has_prices:
        return "There are no prices for these GPUs (gpu_prices)."
    unpriced_ns = sum(row.unpriced_ns for row in tenants)
    left_out = f" {numbers.duration_s(unpriced_ns / NS_PER_S)} of it has no price (gpu_prices) and costs nothing here."
    return f"Priced as {plan.replace('_', ' ')}.{left_out if unpriced_ns else ''}"


def _split(rows: Sequence[GpuTime], span: Span) -> Markup:
    parts = [
        Line(name=name, values=series.rates(span, rows, lambda r, n=name: getattr(r, n) / NS_PER_S), tone=tone)  # type: ignore[misc]
        for name, tone in PARTS
    ]
    svg = areas("gpu", "GPUs by what they did", span, parts, numbers.COUNT)
    return figure("GPUs over time", "GPUs, stacked by what they did", svg, legend=[(t, n) for n, t in PARTS])


def _totals(total: Sequence[tuple[str, str, float]]) -> Markup:
    paid = sum(value for _, _, value in total)
    bars = [
        Bar(name=name, parts=((tone, value),), label=f"{numbers.duration_s(value / NS_PER_S)}, {_share(value, paid)}")
        for name, tone, value in total
    ]
    return figure("GPU time in all", "time × GPUs, and its share of what was paid", lying("paid", "GPU time", bars))


def _used(versions: Sequence[Version]) -> Markup:
    bars = [
        Bar(name=row.deployment, parts=(("c1", row.used_ns),), label=numbers.duration_s(row.used_ns / NS_PER_S))
        for row in versions[:TENANTS]
    ]
    svg = lying("used", "GPU time per deployment", bars)
    return figure("GPU time per deployment", "time × GPUs attributed to attempts", svg)


def _cost_bar(row: Tenant) -> Bar:
    label = numbers.money(row.useful_usd + row.wasted_usd)
    return Bar(name=_name(row), parts=(("c1", row.useful_usd), ("c2", row.wasted_usd)), label=label)


def _time_bar(row: Tenant) -> Bar:
    label = numbers.duration_s((row.useful_ns + row.wasted_ns) / NS_PER_S)
    return Bar(name=_name(row), parts=(("c1", row.useful_ns), ("c2", row.wasted_ns)), label=label)


def _tokens_bar(row: Tenant) -> Bar:
    computed = max(row.tokens_prompt - row.tokens_reused, 0)
    parts = (("c1", computed), ("c6", row.tokens_reused), ("c2", row.tokens_made))
    return Bar(name=_name(row), parts=parts, label=numbers.count(row.tokens_prompt + row.tokens_made))


def _name(row: Tenant) -> str:
    return row.tenant or "(none)"


def _tenants(tenants: Sequence[Tenant], *, has_prices: bool) -> Markup:
    columns = (
        Column(head="tenant", kind="name"),
        *(Column(head=head) for head in ("requests", "prompt tokens", "from cache", "tokens out")),
        *(Column(head=head) for head in ("GPU time", "wasted", "GPU time / token out", "cost")),
    )
    rows = [
        (
            _name(row),
            numbers.whole(row.requests),
            numbers.whole(row.tokens_prompt),
            _share(row.tokens_reused, row.tokens_prompt),
            numbers.whole(row.tokens_made),
            numbers.duration_s((row.useful_ns + row.wasted_ns) / NS_PER_S),
            _share(row.wasted_ns, row.useful_ns + row.wasted_ns),
            _per_token(row.useful_ns + row.wasted_ns, row.tokens_made),
            numbers.money(row.useful_usd + row.wasted_usd) if has_prices else "–",
        )
        for row in tenants[:ROWS]
    ]
    more = f"{len(tenants) - ROWS:,} more used less." if len(tenants) > ROWS else ""
    return table("Tenants", "The largest users of GPU time first.", columns, rows, more=more)


def _versions(versions: Sequence[Version]) -> Markup:
    columns = (
        Column(head="deployment", kind="name"),
        *(Column(head=head) for head in ("attempts", "resumed", "requests", "completed", "failed")),
        *(Column(head=head) for head in ("first token p95", "per token p50", "tokens out")),
        *(Column(head=head) for head in ("GPU time", "GPU time / token out")),
    )
    rows = [
        (
            row.deployment,
            numbers.whole(row.attempts),
            numbers.whole(row.resumed),
            numbers.whole(row.requests),
            _share(row.completed, row.requests),
            _share(row.failed, row.requests),
            milliseconds(row.ttft_p95_ms),
            milliseconds(row.tpot_p50_ms),
            numbers.whole(row.tokens_made),
            numbers.duration_s(row.used_ns / NS_PER_S),
            _per_token(row.used_ns, row.tokens_made),
        )
        for row in versions
    ]
    meaning = (
        "A request that moved to another worker is two attempts, the second of them resumed, and counts as a request "
        "where it ended. GPU time is that of all attempts."
    )
    return table("Models and versions", meaning, columns, rows)


def _share(part: float, whole: float) -> str:
    return numbers.share(part / whole) if whole else "–"


def _per_token(ns: int, tokens: int) -> str:
    return numbers.duration_s(ns / tokens / NS_PER_S) if tokens else "–"
