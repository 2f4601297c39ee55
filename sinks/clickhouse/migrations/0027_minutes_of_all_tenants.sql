-- Minutes of all tenants together, of whom there may be as many as requests in a minute: in rows of the tenant '*', which
-- no tenant can be called, and of no deployment. They have quantiles (.5, .95, .99) ready. A minute without them (tenant
-- '*' beside no model says how many rows it was made of) is computed anew, as one that has changed; where its requests are
-- gone already, it stays as it is, in `requests_history` alone.
ALTER TABLE {database}.requests_by_minute
    ADD COLUMN IF NOT EXISTS ttft_quantiles Array(Float32),
    ADD COLUMN IF NOT EXISTS tpot_quantiles Array(Float32),
    ADD COLUMN IF NOT EXISTS e2e_quantiles Array(Float32);

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
            WHERE model = '' AND latency_class = '' AND tenant = '*'
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
    minute, model, deployment, latency_class, if(grouping(r.tenant) = 1, '*', r.tenant) AS tenant, outcome,
    count() AS requests,
    sum(r.tokens_in) AS tokens_in,
    sum(r.tokens_cached) AS tokens_cached,
    sum(r.tokens_out) AS tokens_out,
    sum(r.gpu_ns) AS gpu_ns,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(r.ttft_ms, r.ttft_ms > 0) AS ttft_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(r.tpot_ms, r.tpot_ms > 0) AS tpot_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(r.e2e_ms, r.e2e_ms > 0) AS e2e_ms,
    if(grouping(r.tenant) = 1, finalizeAggregation(ttft_ms), []) AS ttft_quantiles,
    if(grouping(r.tenant) = 1, finalizeAggregation(tpot_ms), []) AS tpot_quantiles,
    if(grouping(r.tenant) = 1, finalizeAggregation(e2e_ms), []) AS e2e_quantiles,
    toUInt64(0) AS raw_rows,
    now64(3) AS computed_at
FROM {database}.requests_final AS r
WHERE minute IN (SELECT minute FROM touched)
    AND produced_ts IN (SELECT produced_ts FROM {database}.requests WHERE minute IN (SELECT minute FROM touched))
GROUP BY GROUPING SETS
(
    (minute, model, deployment, latency_class, r.tenant, outcome),
    (minute, model, latency_class, outcome)
)
UNION ALL
SELECT
    minute, '' AS model, '' AS deployment, '' AS latency_class, '*' AS tenant, '' AS outcome,
    toUInt64(0) AS requests,
    toUInt64(0) AS tokens_in,
    toUInt64(0) AS tokens_cached,
    toUInt64(0) AS tokens_out,
    toUInt64(0) AS gpu_ns,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(a.ttft_ms, 0) AS ttft_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(a.tpot_ms, 0) AS tpot_ms,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(a.e2e_ms, 0) AS e2e_ms,
    emptyArrayFloat32() AS ttft_quantiles,
    emptyArrayFloat32() AS tpot_quantiles,
    emptyArrayFloat32() AS e2e_quantiles,
    count() AS raw_rows,
    now64(3) AS computed_at
FROM {database}.requests AS a
WHERE minute IN (SELECT minute FROM touched)
GROUP BY minute
SETTINGS enable_shared_storage_snapshot_in_query = 1;

CREATE OR REPLACE VIEW {database}.requests_history AS
SELECT * EXCEPT (raw_rows)
FROM (
    SELECT *
    FROM {database}.requests_by_minute
    QUALIFY computed_at = max(computed_at) OVER (PARTITION BY minute)
)
WHERE model != '' AND tenant != '*';

-- Minutes of all tenants as they are now: as they were computed, and from the first one that has more rows since (of the
-- last day; the present minute always) what `requests_final` says, so that who asks by minute need not rank a day of
-- requests. `ttft`, `tpot` and `e2e` are milliseconds at .5, .95 and .99, NaN where nothing was measured.
CREATE OR REPLACE VIEW {database}.requests_minutes AS
WITH
    (
        SELECT ifNull(minOrNullIf(present.minute, present.row_count > computed.row_count), toStartOfMinute(now()))
        FROM (
            SELECT minute, count() AS row_count
            FROM {database}.requests
            WHERE minute >= toStartOfMinute(now()) - toIntervalDay(1)
            GROUP BY minute
        ) AS present
        LEFT JOIN (
            SELECT minute, argMax(raw_rows, computed_at) AS row_count
            FROM {database}.requests_by_minute
            WHERE model = '' AND latency_class = '' AND tenant = '*'
                AND minute >= toStartOfMinute(now()) - toIntervalDay(1)
            GROUP BY minute
        ) AS computed ON computed.minute = present.minute
    ) AS first_changed,
    (
        SELECT least(ifNull(minOrNull(minute), first_changed), first_changed)
        FROM {database}.requests
        WHERE final = 1
            AND produced_ts IN (SELECT produced_ts FROM {database}.requests WHERE minute >= first_changed)
    ) AS first_touched
SELECT
    minute, model, latency_class, outcome, requests, tokens_in, tokens_cached, tokens_out, gpu_ns,
    ttft_quantiles AS ttft, tpot_quantiles AS tpot, e2e_quantiles AS e2e
FROM (
    SELECT *
    FROM {database}.requests_by_minute
    WHERE tenant = '*'
    QUALIFY computed_at = max(computed_at) OVER (PARTITION BY minute)
)
WHERE model != '' AND minute < first_touched
UNION ALL
SELECT
    minute, model, latency_class, outcome,
    count() AS requests,
    sum(r.tokens_in) AS tokens_in,
    sum(r.tokens_cached) AS tokens_cached,
    sum(r.tokens_out) AS tokens_out,
    sum(r.gpu_ns) AS gpu_ns,
    quantilesTDigestIf(0.5, 0.95, 0.99)(r.ttft_ms, r.ttft_ms > 0) AS ttft,
    quantilesTDigestIf(0.5, 0.95, 0.99)(r.tpot_ms, r.tpot_ms > 0) AS tpot,
    quantilesTDigestIf(0.5, 0.95, 0.99)(r.e2e_ms, r.e2e_ms > 0) AS e2e
FROM {database}.requests_final AS r
WHERE minute >= first_touched
    AND produced_ts IN (SELECT produced_ts FROM {database}.requests WHERE minute >= first_touched)
GROUP BY minute, model, latency_class, outcome;
