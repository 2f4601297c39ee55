"""Cost: what GPU time was paid for, who used it, and what was wasted. Prices are looked up when the page is shown."""

from infra.grafana.model import MODEL, PLAN, Board, Panel


def _price(gpu: str, at: str) -> str:
    """US dollars of a nanosecond of one GPU."""
    hour = f"dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', ({gpu}, ${{plan:singlequote}}), toStartOfHour({at}), 0.)"
    return f"{hour} / 3.6e12"


_SAMPLE = _price("toString(gpu)", "ts")
_ATTEMPT = _price("g.gpu", "a.produced_ts")
_SAMPLES = "gpu_samples WHERE $__timeFilter(ts) AND model IN (${model:singlequote})"
_ATTEMPTS = """attempts AS a
LEFT JOIN worker_gpus AS g ON g.worker = a.worker
WHERE $__timeFilter(a.produced_ts) AND a.model IN (${model:singlequote})"""
_WASTED = "a.final = 0 OR a.outcome != 'completed'"


def _stat(title: str, column: str, about: str) -> Panel:
    sql = f"SELECT sum({column} * {_SAMPLE}) AS usd FROM {_SAMPLES}"
    return Panel(title=title, kind="stat", unit="currencyUSD", decimals=2, width=6, height=4, about=about, sql=sql)


BOARD = Board(
    uid="millrace-cost",
    title="Millrace: cost",
    about="GPU time and its price, by what it went into, by tenant and by version.",
    variables=(MODEL, PLAN),
    since="now-24h",
    refresh="5m",
    panels=(
        _stat("Paid", "paid_ns", "All GPU time that workers reported, at its price."),
        _stat("Idle", "idle_ns", "What waited for work. High: fewer replicas, or batch more."),
        _stat("Loading", "loading_ns", "What loaded models."),
        Panel(
            title="Wasted",
            kind="stat",
            unit="currencyUSD",
            decimals=2,
            width=6,
            height=4,
            about="Attributed to attempts that completed no request: handed back, dead, cancelled, failed.",
            sql=f"SELECT sumIf(a.gpu_ns * {_ATTEMPT}, {_WASTED}) AS usd FROM {_ATTEMPTS}",
        ),
        Panel(
            title="GPU cost per hour",
            kind="timeseries",
            every="5m",
            unit="currencyUSD",
            stacked=True,
            width=12,
            about="Paid GPU time by what it went into, scaled to an hour.",
            sql=f"""
SELECT $__timeInterval(ts) AS time,
    sum(busy_ns * {_SAMPLE}) * 3600 / $__interval_s AS busy,
    sum(idle_ns * {_SAMPLE}) * 3600 / $__interval_s AS idle,
    sum(loading_ns * {_SAMPLE}) * 3600 / $__interval_s AS loading
FROM {_SAMPLES}
GROUP BY time
ORDER BY time""",
        ),
        Panel(
            title="Cost per million tokens out",
            kind="timeseries",
            every="5m",
            unit="currencyUSD",
            width=12,
            about="Attributed GPU time by model, over the tokens that its requests got.",
            sql=f"""
SELECT $__timeInterval(a.produced_ts) AS time, a.model AS line,
    1e6 * sum(a.gpu_ns * {_ATTEMPT}) / nullIf(sum(a.tokens_out), 0) AS usd
FROM {_ATTEMPTS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Tenants",
            kind="table",
            width=12,
            about="Over all attempts: what was thrown away counts as used.",
            sql=f"""
SELECT a.tenant AS tenant,
    uniqExact(a.lane_topic, a.lane_partition, a.lane_offset) AS requests,
    sum(a.tokens_in) AS prompt_tokens,
    sum(a.tokens_out) AS tokens_made,
    round(sum(a.gpu_ns) / 1e9, 1) AS gpu_s,
    round(sumIf(a.gpu_ns, {_WASTED}) / greatest(sum(a.gpu_ns), 1), 4) AS wasted_ratio,
    round(sum(a.gpu_ns * {_ATTEMPT}), 4) AS usd
FROM {_ATTEMPTS}
GROUP BY tenant
ORDER BY usd DESC
LIMIT 100""",
        ),
        Panel(
            title="Versions",
            kind="table",
            width=12,
            about="By deployment; token_ms is GPU time per token.",
            sql=f"""
SELECT a.deployment AS version,
    count() AS attempts,
    sum(a.tokens_out) AS tokens_made,
    round(sum(a.gpu_ns) / 1e9, 1) AS gpu_s,
    round(sum(a.gpu_ns) / 1e6 / nullIf(sum(a.tokens_out), 0), 3) AS token_ms,
    round(sum(a.gpu_ns * {_ATTEMPT}), 4) AS usd
FROM {_ATTEMPTS} AND a.deployment != ''
GROUP BY version
ORDER BY usd DESC""",
        ),
        Panel(
            title="Cost by tenant",
            kind="bars",
            unit="currencyUSD",
            width=24,
            about="The twenty that used most.",
            sql=f"""
SELECT toString(a.tenant) AS tenant, sum(a.gpu_ns * {_ATTEMPT}) AS usd
FROM {_ATTEMPTS}
GROUP BY tenant
ORDER BY usd DESC
LIMIT 20""",
        ),
    ),
)
