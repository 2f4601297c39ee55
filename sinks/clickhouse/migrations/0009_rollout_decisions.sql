-- Every step of a rollout from one version to the next, with the comparison that it rests on: small, kept two years.
CREATE TABLE IF NOT EXISTS {database}.rollout_decisions
(
    kp                 UInt16,
    ko                 UInt64,
    ki                 UInt32,
    log_ts             DateTime64(3, 'UTC'),
    ts                 DateTime64(6, 'UTC'),
    decision_id        String,
    rollout_id         LowCardinality(String),
    model              LowCardinality(String),
    stable             LowCardinality(String),
    canary             LowCardinality(String),
    stage              UInt64,
    action             LowCardinality(String),
    reason             LowCardinality(String),
    weight_before      Float64,
    weight_after       Float64,
    stable_requests    UInt64,
    canary_requests    UInt64,
    stable_error_ratio Float64,
    canary_error_ratio Float64,
    stable_ttft_p95_ms Float64,
    canary_ttft_p95_ms Float64,
    p_value            Float64,
    detail             String,
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (model, ts)
TTL toDateTime(log_ts) + INTERVAL 730 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
