-- Every decision about how many replicas a deployment has, with what it was made from: small, kept for two years.
CREATE TABLE IF NOT EXISTS {database}.scaling_decisions
(
    kp              UInt16,
    ko              UInt64,
    ki              UInt32,
    log_ts          DateTime64(3, 'UTC'),
    ts              DateTime64(6, 'UTC'),
    decision_id     String,
    scaler          LowCardinality(String),
    policy          LowCardinality(String),
    model           LowCardinality(String),
    deployment      LowCardinality(String),
    action          LowCardinality(String),
    reason          LowCardinality(String),
    replicas_before UInt64,
    replicas_wanted UInt64,
    replicas_after  UInt64,
    queue_depth     UInt64,
    lag_s           Float64,
    arrival_rps     Float64,
    forecast_rps    Float64,
    capacity_rps    Float64,
    busy_ratio      Float64,
    kv_usage_ratio  Float64,
    wait_p95_ms     Float64,
    burn_rate       Float64,
    ready_ts        DateTime64(6, 'UTC'),
    dry_run         UInt8,
    detail          String,
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (model, ts)
TTL toDateTime(log_ts) + INTERVAL 730 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
