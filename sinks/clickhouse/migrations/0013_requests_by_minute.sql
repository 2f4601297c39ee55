-- Two years of minutes, when the requests themselves are long gone. The last two hours are computed anew every minute
-- and replace themselves, so rows that come late heal it and an interrupted refresh harms nothing.
CREATE TABLE IF NOT EXISTS {database}.requests_by_minute
(
    minute        DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    model         LowCardinality(String),
    deployment    LowCardinality(String),
    latency_class LowCardinality(String),
    tenant        LowCardinality(String),
    outcome       LowCardinality(String),
    requests      UInt64,
    tokens_in     UInt64,
    tokens_cached UInt64,
    tokens_out    UInt64,
    gpu_ns        UInt64,
    ttft_ms       AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float32),
    tpot_ms       AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float32),
    e2e_ms        AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float32),
    computed_at   DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(minute)
ORDER BY (model, latency_class, minute, deployment, tenant, outcome)
TTL minute + INTERVAL 730 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.requests_by_minute_refresh
REFRESH EVERY 1 MINUTE APPEND TO {database}.requests_by_minute AS
SELECT
    minute, model, deployment, latency_class, tenant, outcome,
    count() AS requests,
    sum(r.tokens_in) AS tokens_in,
    sum(r.tokens_cached) AS tokens_cached,
    sum(r.tokens_out) AS tokens_out,
    sum(r.gpu_ns) AS gpu_ns,
    quantilesTDigestState(0.5, 0.95, 0.99)(r.ttft_ms) AS ttft_ms,
    quantilesTDigestState(0.5, 0.95, 0.99)(r.tpot_ms) AS tpot_ms,
    quantilesTDigestState(0.5, 0.95, 0.99)(r.e2e_ms) AS e2e_ms,
    now64(3) AS computed_at
FROM {database}.requests_final AS r
WHERE minute >= toStartOfMinute(now() - toIntervalHour(2)) AND minute < toStartOfMinute(now())
GROUP BY minute, model, deployment, latency_class, tenant, outcome;
