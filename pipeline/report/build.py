"""The report: facts about a range as one HTML page. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pipeline.report import lanes, money, numbers
from pipeline.report.facts import Facts, Refusal, Slow
from pipeline.report.markup import Markup, element, joined
from pipeline.report.page import Column, document, section, table, tiles
from pipeline.report.ranges import Range
from pipeline.report.reconciliation import lanes_table, reconciliation

REFUSALS: Final = 15


def report(facts: Facts, asked: Range, *, database: str, plan: str, now: datetime) -> str:
    """The page about `asked`. `database` names where the facts are from, `now` when they were asked for."""
    span = asked.span
    return document(
        f"Millrace report, {asked.words}",
        element(
            "header",
            element("h1", "Millrace report"),
            element("p", f"{asked.words} · {numbers.duration_s(asked.length_s)}", class_="quiet"),
        ),
        element(
            "main",
            _key_figures(facts, asked),
            reconciliation(facts),
            lanes.latency(facts, span),
            lanes.throughput(facts, span),
            lanes.batching(facts, span),
            money.gpu_time(facts, span),
            money.costs(facts, plan=plan),
            _requests(facts),
        ),
        element(
            "footer",
            f"Made at {now:%Y-%m-%d %H:%M:%S} UTC from database {database}. Times are UTC. Requests belong to the "
            "range in which they were produced.",
        ),
    )


def _key_figures(facts: Facts, asked: Range) -> Markup:
    totals = facts.totals
    busy = sum(row.busy for row in facts.gpu_time)
    paid = sum(row.busy + row.idle + row.loading + row.unobserved for row in facts.gpu_time)
    used = sum(row.useful_ns + row.wasted_ns for row in facts.tenants)
    wasted = sum(row.wasted_ns for row in facts.tenants)
    usd = sum(row.useful_usd + row.wasted_usd for row in facts.tenants)
    cost = ("Cost of requests", numbers.money(usd), "attributed GPU time at its price")
    return tiles(
        [
            ("Requests", numbers.whole(totals.requests), f"{numbers.count(totals.requests / asked.length_s)} a second"),
            ("Completed", _share(totals.completed, totals.requests), numbers.whole(totals.completed)),
            (
                "Not completed",
                numbers.whole(totals.requests - totals.completed),
                f"{totals.rejected:,} rejected, {totals.expired:,} expired, {totals.cancelled:,} cancelled, "
                f"{totals.failed:,} failed",
            ),
            ("Tokens out", numbers.count(totals.tokens_made), f"{numbers.count(totals.tokens_prompt)} in prompts"),
            ("GPUs busy", _share(busy, paid), f"of {numbers.duration_s(paid / 1e9)} × GPUs paid for"),
            ("Wasted", _share(wasted, used), "of attributed GPU time completed nothing"),
            *([cost] if usd else []),
        ]
    )


def _requests(facts: Facts) -> Markup:
    return section(
        "Requests",
        "What took longest, what did not complete and why, and each lane's places in the log.",
        _slowest(facts.slowest),
        _refusals(facts.refusals),
        lanes_table(facts.ends),
    )


def _refusals(refusals: Sequence[Refusal]) -> Markup:
    columns = (
        Column(head="outcome", kind="name"),
        *(Column(head=head, kind="name") for head in ("code", "reason", "lane")),
        *(Column(head=head) for head in ("requests", "tenants")),
    )
    rows = [
        (
            row.outcome,
            row.error_code or "–",
            row.reason or "–",
            f"{row.model} · {row.latency_class}",
            numbers.whole(row.requests),
            numbers.whole(row.tenants),
        )
        for row in refusals[:REFUSALS]
    ]
    more = f"{len(refusals) - REFUSALS} rarer kinds are left out." if len(refusals) > REFUSALS else ""
    return table("Not completed, by reason", "The most frequent first.", columns, rows, more=more)


def _slowest(slowest: Sequence[Slow]) -> Markup:
    columns = (
        Column(head="request", kind="name"),
        *(Column(head=head, kind="name") for head in ("tenant", "lane", "worker")),
        *(Column(head=head) for head in ("whole answer", "first token", "tokens out")),
        Column(head="longest part", kind="name"),
        Column(head="which took"),
    )
    rows = [
        (
            row.request_id,
            row.tenant or "–",
            f"{row.model} · {row.latency_class}",
            row.worker or "–",
            numbers.duration_ms(row.whole_ms),
            numbers.duration_ms(row.first_token_ms),
            numbers.whole(row.tokens_made),
            f"before {row.slow_before}",
            numbers.duration_ms(row.slow_ms),
        )
        for row in slowest
    ]
    meaning = joined(element("code", "millrace trace ID"), " shows where one of them spent its time.")
    return table("Slowest requests", meaning, columns, rows)


def _share(part: float, whole: float) -> str:
    return numbers.share(part / whole) if whole else "–"
