-- Every batching decision: what was dispatched together, and why then and not later or larger. Kept for 90 days.
CREATE TABLE IF NOT EXISTS {database}.batches
(
    kp            UInt16 CODEC(T64, ZSTD(1)),
    ko            UInt64 CODEC(Delta(8), ZSTD(1)),
    ki            UInt32 CODEC(Delta(4), ZSTD(1)),
    log_ts        DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    batch_id      String CODEC(ZSTD(1)),
    formed_ts     DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    model         LowCardinality(String),
    deployment    LowCardinality(String),
    latency_class LowCardinality(String),
    worker        LowCardinality(String),
    processor     LowCardinality(String),
    size          UInt64 CODEC(T64, ZSTD(1)),
    size_limit    UInt64 CODEC(T64, ZSTD(1)),
    tokens_in     UInt64 CODEC(T64, ZSTD(1)),
    wait_max_us   UInt64 CODEC(T64, ZSTD(1)),
    wait_sum_us   UInt64 CODEC(T64, ZSTD(1)),
    queue_depth   UInt64 CODEC(T64, ZSTD(1)),
    reason        LowCardinality(String),
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (model, formed_ts)
TTL toDateTime(log_ts) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
