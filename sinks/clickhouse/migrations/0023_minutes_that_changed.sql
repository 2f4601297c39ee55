-- A minute is computed anew whenever `requests` has more rows of it than when it was computed, however late they come;
-- with it the minutes in which other attempts of their requests ended, because those may count no more. raw_rows says
-- how many there were: in a row of the minute without model, which is there also where no request is left.
ALTER TABLE {database}.requests_by_minute
    ADD COLUMN IF NOT EXISTS raw_rows UInt64;

-- All rows of a minute are of one computation: the newest counts, the others are of groups that are there no more.
CREATE OR REPLACE VIEW {database}.requests_history AS
SELECT * EXCEPT (raw_rows)
FROM (
    SELECT *
    FROM {database}.requests_by_minute
    QUALIFY computed_at = max(computed_at) OVER (PARTITION BY minute)
)
WHERE model != '';

-- Rows that are gone (their time is over, they were erased) change nothing: fewer than before are no reason. A day's
-- minutes at a time, the newest first, so that a recorder that was away, or a database of before, is caught up with.
-- What was not measured (0) is in no digest.
ALTER TABLE {database}.requests_by_minute_refresh MODIFY QUERY
WITH
    changed AS (
        SELECT present.minute AS minute
        FROM (
            SELECT minute, count() AS row_count
            FROM {database}.requests
            WHERE minute < toStartOfMinute(now())
            GROUP BY minute
        ) AS present
        LEFT JOIN (
            SELECT minute, argMax(raw_rows, computed_at) AS row_count
            FROM {database}.requests_by_minute
            WHERE model = '' AND latency_class = ''
            GROUP BY minute
        ) AS computed ON computed.minute = present.minute
        WHERE present.row_count > computed.row_count
        ORDER BY minute DESC
        LIMIT 1440
    ),
    touched AS (
        SELECT DISTINCT minute
        FROM {database}.requests
        WHERE minute < toStartOfMinute(now())
            AND produced_ts IN (SELECT produced_ts FROM {database}.requests WHERE minute IN (SELECT minute FROM changed))
    )
SELECT
    minute, model, deployment, latency_class, tenant, outcome,
    count() AS requests,
    sum(r.tokens_in) AS tokens_in,
    sum(r.tokens_cached) AS tokens_cached,
    sum(r.tokens_out) AS tokens_out,
    sum(r.gpu_ns) AS gpu_ns,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(r.ttft_ms, r.ttft_ms > 0) AS ttft_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(r.tpot_ms, r.tpot_ms > 0) AS tpot_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(r.e2e_ms, r.e2e_ms > 0) AS e2e_ms,
    toUInt64(0) AS raw_rows,
    now64(3) AS computed_at
FROM {database}.requests_final AS r
WHERE minute IN (SELECT minute FROM touched)
    AND produced_ts IN (SELECT produced_ts FROM {database}.requests WHERE minute IN (SELECT minute FROM touched))
GROUP BY minute, model, deployment, latency_class, tenant, outcome
UNION ALL
SELECT
    minute, '' AS model, '' AS deployment, '' AS latency_class, '' AS tenant, '' AS outcome,
    toUInt64(0) AS requests,
    toUInt64(0) AS tokens_in,
    toUInt64(0) AS tokens_cached,
    toUInt64(0) AS tokens_out,
    toUInt64(0) AS gpu_ns,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(a.ttft_ms, 0) AS ttft_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(a.tpot_ms, 0) AS tpot_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(a.e2e_ms, 0) AS e2e_ms,
    count() AS raw_rows,
    now64(3) AS computed_at
FROM {database}.requests AS a
WHERE minute IN (SELECT minute FROM touched)
GROUP BY minute
SETTINGS enable_shared_storage_snapshot_in_query = 1;
