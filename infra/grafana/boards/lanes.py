"""Lanes: what arrives, what waits, what is put together and what is turned away."""

from infra.grafana.model import MODEL, Board, Panel

_OURS = "$__timeFilter(produced_ts) AND model IN (${model:singlequote})"
_LANE = "concat(model, ' ', latency_class) AS line"

BOARD = Board(
    uid="millrace-lanes",
    title="Millrace: lanes",
    about="Lanes and the batching decisions made from them. Events are kept for a week.",
    variables=(MODEL,),
    panels=(
        Panel(
            title="Requests produced",
            kind="timeseries",
            unit="reqps",
            stacked=True,
            about="By lane. What has not ended yet is not in here.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time, {_LANE}, count() / $__interval_s AS requests
FROM requests_final
WHERE {_OURS}
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Queue depth",
            kind="timeseries",
            decimals=0,
            about="Requests in the lane's queue when one was admitted, most. At its bound the lane is paused.",
            sql=f"""
SELECT $__timeInterval(ts) AS time, {_LANE}, max(queue_depth) AS waiting
FROM events
WHERE kind = 'request.admitted' AND $__timeFilter(ts) AND model IN (${{model:singlequote}})
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Queue wait, p95",
            kind="timeseries",
            unit="ms",
            about="From admission to the batch, of completed requests by lane. Grows: more replicas.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time, {_LANE},
    quantileTDigest(0.95)((toInt64(batched_us) - toInt64(admitted_us)) / 1000) AS wait
FROM requests_final
WHERE {_OURS} AND outcome = 'completed' AND batched_us > 0
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="First token, p95",
            kind="timeseries",
            unit="ms",
            about="By lane, of completed requests.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time, {_LANE}, quantileTDigest(0.95)(ttft_ms) AS first_token
FROM requests_final
WHERE {_OURS} AND outcome = 'completed' AND ttft_ms > 0
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Per token, p95",
            kind="timeseries",
            unit="ms",
            about="Time between tokens by lane. Grows with the engine's batch.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time, {_LANE}, quantileTDigest(0.95)(tpot_ms) AS per_token
FROM requests_final
WHERE {_OURS} AND outcome = 'completed' AND tpot_ms > 0
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Not completed",
            kind="timeseries",
            unit="reqps",
            counts=True,
            about="Rejected, expired, cancelled and failed requests.",
            sql=f"""
SELECT $__timeInterval(produced_ts) AS time, outcome AS line, count() / $__interval_s AS requests
FROM requests_final
WHERE {_OURS} AND outcome != 'completed'
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Mean batch size",
            kind="timeseries",
            about="Requests per decision, by model. Small under load: credits are short or arrivals are thin.",
            sql="""
SELECT $__timeInterval(formed_ts) AS time, model AS line, avg(size) AS requests
FROM batches
WHERE $__timeFilter(formed_ts) AND model IN (${model:singlequote})
GROUP BY time, line
ORDER BY time""",
        ),
        Panel(
            title="Batch sizes",
            kind="bars",
            about="Decisions by the number of requests that they put together.",
            sql="""
SELECT toString(size) AS requests, count() AS batches
FROM batches
WHERE $__timeFilter(formed_ts) AND model IN (${model:singlequote})
GROUP BY size
ORDER BY size""",
        ),
        Panel(
            title="Why batches left",
            kind="bars",
            about="Requests by the reason of their batch.",
            sql="""
SELECT toString(reason) AS why, sum(size) AS requests
FROM batches
WHERE $__timeFilter(formed_ts) AND model IN (${model:singlequote})
GROUP BY reason
ORDER BY requests DESC""",
        ),
        Panel(
            title="Not completed, by reason",
            kind="table",
            width=12,
            about="The most frequent first.",
            sql=f"""
SELECT model, latency_class AS class, outcome, error_code, reason, count() AS requests, uniqExact(tenant) AS tenants
FROM requests_final
WHERE {_OURS} AND outcome != 'completed'
GROUP BY model, class, outcome, error_code, reason
ORDER BY requests DESC
LIMIT 50""",
        ),
        Panel(
            title="Slowest requests",
            kind="table",
            width=12,
            links=("request",),
            about="An id leads to its waterfall.",
            sql=f"""
SELECT request_id AS request, tenant, model, latency_class AS class, worker,
    round(e2e_ms, 1) AS whole_ms, round(ttft_ms, 1) AS first_ms, tokens_out
FROM requests_final
WHERE {_OURS} AND outcome = 'completed'
ORDER BY whole_ms DESC
LIMIT 50""",
        ),
    ),
)
