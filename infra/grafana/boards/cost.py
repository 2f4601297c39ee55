"""Cost: what GPU time was paid for, who used it, and what was wasted. Prices are looked up when the page is shown."""

from infra.grafana.model import MODEL, PLAN, Board, Panel


def _key(gpu: str, at: str) -> str:
    """What the price of a GPU is looked up by."""
    return f"'gpu_price', 'usd_per_gpu_hour', ({gpu}, ${{plan:singlequote}}), toStartOfHour({at})"


def _price(gpu: str, at: str) -> str:
    """US dollars of a nanosecond of one GPU."""
    return f"dictGetOrDefault({_key(gpu, at)}, 0.) / 3.6e12"


_SAMPLE = _price("toString(gpu)", "ts")
_WORK = _price("g.gpu", "a.produced_ts")
_KNOWN = f"dictGetOrNull({_key('toString(gpu)', 'ts')})"
_SAMPLES = "gpu_samples WHERE $__timeFilter(ts) AND model IN (${model:singlequote})"
_OF = """AS a
LEFT JOIN worker_gpus AS g ON g.worker = a.worker
WHERE $__timeFilter(a.produced_ts) AND a.model IN (${model:singlequote})"""
_ATTEMPTS = f"attempts {_OF}"
"""Engine time is that of all attempts; what is useful is that of attempts whose answer readers accepted (`_ENDS`)."""
_ENDS = f"requests_final {_OF}"
"""Requests and tokens, each counted once."""
_USEFUL = "a.outcome = 'completed'"


def _stat(title: str, column: str, about: str) -> Panel:
    sql = f"SELECT sum({column} * {_SAMPLE}) AS usd FROM {_SAMPLES}"
    return Panel(title=title, kind="stat", unit="currencyUSD", decimals=2, width=5, height=4, about=about, sql=sql)


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
            width=5,
            height=4,
            about="Attempts whose answer no reader accepted: handed back, dead, superseded, cancelled, failed.",
            sql=f"""
SELECT round(sum(spent), 9) AS usd
FROM (
    SELECT sum(a.gpu_ns * {_WORK}) AS spent FROM {_ATTEMPTS}
    UNION ALL
    SELECT -sumIf(a.gpu_ns * {_WORK}, {_USEFUL}) AS spent FROM {_ENDS}
)""",
        ),
        Panel(
            title="Without a price",
            kind="stat",
            unit="h",
            decimals=1,
            width=4,
            height=4,
            about="GPU time of types that gpu_prices does not know: it counts as nothing in all other figures.",
            sql=f"""
SELECT sumIf(paid_ns, {_KNOWN} IS NULL) / 3.6e12 AS hours
FROM {_SAMPLES}""",
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
SELECT time, line, 1e6 * sum(spent) / nullIf(sum(tokens), 0) AS usd
FROM (
    SELECT $__timeInterval(a.produced_ts) AS time, a.model AS line, sum(a.gpu_ns * {_WORK}) AS spent, 0 AS tokens
    FROM {_ATTEMPTS}
    GROUP BY time, line
    UNION ALL
    SELECT $__timeInterval(a.produced_ts) AS time, a.model AS line, 0 AS spent, sum(a.tokens_out) AS tokens
    FROM {_ENDS}
    GROUP BY time, line
)
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Tenants",
            kind="table",
            width=12,
            about="Requests that ended, and GPU time of all attempts: what was thrown away counts as used.",
            sql=f"""
SELECT tenant,
    sum(ends) AS requests,
    sum(prompt) AS prompt_tokens,
    sum(made) AS tokens_made,
    round(sum(used) / 1e9, 1) AS gpu_s,
    round((sum(used) - sum(useful)) / greatest(sum(used), 1), 4) AS wasted_ratio,
    round(sum(spent), 4) AS usd
FROM (
    SELECT a.tenant AS tenant, sum(a.gpu_ns) AS used, sum(a.gpu_ns * {_WORK}) AS spent,
        0 AS ends, 0 AS prompt, 0 AS made, 0 AS useful
    FROM {_ATTEMPTS}
    GROUP BY tenant
    UNION ALL
    SELECT a.tenant AS tenant, 0 AS used, 0 AS spent,
        count() AS ends, sum(a.tokens_in) AS prompt, sum(a.tokens_out) AS made, sumIf(a.gpu_ns, {_USEFUL}) AS useful
    FROM {_ENDS}
    GROUP BY tenant
)
GROUP BY tenant
ORDER BY usd DESC
LIMIT 100""",
        ),
        Panel(
            title="Versions",
            kind="table",
            width=12,
            about="Attempts at each deployment, tokens of requests that ended there; token_ms is GPU time per token.",
            sql=f"""
SELECT version,
    sum(tried) AS attempts,
    sum(made) AS tokens_made,
    round(sum(used) / 1e9, 1) AS gpu_s,
    round(sum(used) / 1e6 / nullIf(sum(made), 0), 3) AS token_ms,
    round(sum(spent), 4) AS usd
FROM (
    SELECT a.deployment AS version, count() AS tried, sum(a.gpu_ns) AS used, sum(a.gpu_ns * {_WORK}) AS spent, 0 AS made
    FROM {_ATTEMPTS} AND a.deployment != ''
    GROUP BY version
    UNION ALL
    SELECT a.deployment AS version, 0 AS tried, 0 AS used, 0 AS spent, sum(a.tokens_out) AS made
    FROM {_ENDS} AND a.deployment != ''
    GROUP BY version
)
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
SELECT toString(a.tenant) AS tenant, sum(a.gpu_ns * {_WORK}) AS usd
FROM {_ATTEMPTS}
GROUP BY tenant
ORDER BY usd DESC
LIMIT 20""",
        ),
    ),
)
