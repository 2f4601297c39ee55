"""The first look: is everything answered, in time, and are the GPUs used?"""

from infra.grafana.model import MODEL, Board, Panel

_OURS = "$__timeFilter(produced_ts) AND model IN (${model:singlequote})"

BOARD = Board(
    uid="millrace-overview",
    title="Millrace: overview",
    about="Requests, latency, queues and GPUs of all lanes.",
    variables=(MODEL,),
    panels=(
        Panel(
            title="Requests",
            kind="stat",
            width=4,
            height=4,
            about="Requests produced in the range that have ended.",
            sql=f"SELECT count() AS requests FROM requests_final WHERE {_OURS}",
        ),
        Panel(
            title="Completed",
            kind="stat",
            unit="percentunit",
            width=4,
            height=4,
            at_least=((0.9, "orange"), (0.98, "green")),
            about="Share of those that completed. What did not is in the lanes dashboard, by reason.",
            sql=f"""
SELECT countIf(outcome = 'completed') / nullIf(count(), 0) AS completed
FROM requests_final
WHERE {_OURS}""",
        ),
        Panel(
            title="First token, p95",
            kind="stat",
            unit="ms",
            width=4,
            height=4,
            about="Of completed requests, over all classes.",
            sql=f"""
SELECT quantileTDigestIf(0.95)(ttft_ms, outcome = 'completed' AND ttft_ms > 0) AS first_token
FROM requests_final
WHERE {_OURS}""",
        ),
        Panel(
            title="Tokens out",
            kind="stat",
            width=4,
            height=4,
            about="Tokens of answers.",
            sql=f"SELECT sum(tokens_out) AS tokens FROM requests_final WHERE {_OURS}",
        ),
        Panel(
            title="GPUs busy",
            kind="stat",
            unit="percentunit",
            width=4,
            height=4,
            about="Share of paid GPU time in which engines worked. Low beside full queues: look at the lanes.",
            sql="""
SELECT sum(busy_ns) / nullIf(sum(paid_ns), 0) AS busy
FROM gpu_samples
WHERE $__timeFilter(ts) AND model IN (${model:singlequote})""",
        ),
        Panel(
            title="Newest row",
            kind="stat",
            unit="s",
            width=4,
            height=4,
            limits=((60, "orange"), (300, "red")),
            about="How old the newest row is. Grows while requests flow: the recorder is behind or down.",
            sql="""
SELECT dateDiff('second', max(log_ts), now64(3)) AS age
FROM (
    SELECT max(log_ts) AS log_ts FROM requests UNION ALL SELECT max(log_ts) FROM engine_steps
)""",
        ),
        Panel(
            title="Requests ended",
            kind="timeseries",
            unit="reqps",
            counts=True,
            about="By outcome and the time at which they were produced.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time, outcome AS line, count() / $__interval_s AS requests
FROM requests_final
WHERE {_OURS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="First token, percentiles",
            kind="timeseries",
            unit="ms",
            about="Of completed requests. Grows with the queue: add replicas.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time,
    quantileTDigest(0.5)(ttft_ms) AS p50, quantileTDigest(0.95)(ttft_ms) AS p95, quantileTDigest(0.99)(ttft_ms) AS p99
FROM requests_final
WHERE {_OURS} AND outcome = 'completed' AND ttft_ms > 0
GROUP BY time
ORDER BY time""",
        ),
        Panel(
            title="Whole answer, percentiles",
            kind="timeseries",
            unit="ms",
            about="Of completed requests, from the record to the end.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time,
    quantileTDigest(0.5)(e2e_ms) AS p50, quantileTDigest(0.95)(e2e_ms) AS p95, quantileTDigest(0.99)(e2e_ms) AS p99
FROM requests_final
WHERE {_OURS} AND outcome = 'completed'
GROUP BY time
ORDER BY time""",
        ),
        Panel(
            title="Queue depth",
            kind="timeseries",
            decimals=0,
            about="Most requests still waiting after a batching decision, by model.",
            sql="""
SELECT $__timeInterval(formed_ts) AS time, model AS line, max(queue_depth) AS waiting
FROM batches
WHERE $__timeFilter(formed_ts) AND model IN (${model:singlequote})
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Tokens",
            kind="timeseries",
            unit="suffix:tok/s",
            about="Of prompts and answers.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time,
    sum(tokens_in) / $__interval_s AS prompts, sum(tokens_out) / $__interval_s AS answers
FROM requests_final
WHERE {_OURS}
GROUP BY time
ORDER BY time""",
        ),
        Panel(
            title="GPUs by what they did",
            kind="timeseries",
            decimals=0,
            stacked=True,
            about="Busy, idle or loading a model, in GPUs.",
            sql="""
SELECT $__timeInterval(ts) AS time,
    sum(busy_ns) / 1e9 / $__interval_s AS busy,
    sum(idle_ns) / 1e9 / $__interval_s AS idle,
    sum(loading_ns) / 1e9 / $__interval_s AS loading
FROM gpu_samples
WHERE $__timeFilter(ts) AND model IN (${model:singlequote})
GROUP BY time
ORDER BY time""",
        ),
        Panel(
            title="Targets",
            kind="table",
            unit="short",
            width=24,
            height=10,
            about="Share of requests that kept what their class is promised; cancelled ones count neither way.",
            sql="""
SELECT
    r.model AS model,
    r.latency_class AS class,
    count() AS requests,
    round(countIf(
        outcome = 'completed'
        AND (t.ttft_ms = 0 OR r.ttft_ms <= t.ttft_ms)
        AND (t.tpot_ms = 0 OR r.tpot_ms <= t.tpot_ms)
        AND (t.e2e_ms = 0 OR r.e2e_ms <= t.e2e_ms)
    ) / count(), 4) AS kept_ratio,
    any(t.objective_ratio) AS objective_ratio,
    round(quantileTDigestIf(0.95)(r.ttft_ms, outcome = 'completed' AND r.ttft_ms > 0), 1) AS ttft_p95_ms,
    nullIf(any(t.ttft_ms), 0) AS ttft_target_ms,
    round(quantileTDigestIf(0.95)(r.tpot_ms, outcome = 'completed' AND r.tpot_ms > 0), 1) AS tpot_p95_ms,
    nullIf(any(t.tpot_ms), 0) AS tpot_target_ms,
    round(quantileTDigestIf(0.95)(r.e2e_ms, outcome = 'completed'), 1) AS e2e_p95_ms,
    nullIf(any(t.e2e_ms), 0) AS e2e_target_ms
FROM requests_final AS r
LEFT JOIN (SELECT * FROM slo_targets FINAL) AS t ON t.model = r.model AND t.latency_class = r.latency_class
WHERE $__timeFilter(produced_ts) AND r.model IN (${model:singlequote}) AND outcome != 'cancelled'
GROUP BY model, class
ORDER BY model, class""",
        ),
    ),
)
