-- The engine's steps of each worker, summed up about once a second. Kept for 30 days.
CREATE TABLE IF NOT EXISTS {database}.engine_steps
(
    kp             UInt16 CODEC(T64, ZSTD(1)),
    ko             UInt64 CODEC(Delta(8), ZSTD(1)),
    ki             UInt32 CODEC(Delta(4), ZSTD(1)),
    log_ts         DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ts             DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    worker         LowCardinality(String),
    model          LowCardinality(String),
    deployment     LowCardinality(String),
    gpus           UInt64 CODEC(T64, ZSTD(1)),
    interval_us    UInt64 CODEC(T64, ZSTD(1)),
    steps          UInt64 CODEC(T64, ZSTD(1)),
    busy_us        UInt64 CODEC(T64, ZSTD(1)),
    prefill_tokens UInt64 CODEC(T64, ZSTD(1)),
    decode_tokens  UInt64 CODEC(T64, ZSTD(1)),
    running_max    UInt64 CODEC(T64, ZSTD(1)),
    waiting_max    UInt64 CODEC(T64, ZSTD(1)),
    kv_usage_ratio Float32 CODEC(ZSTD(1)),
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (worker, ts)
TTL toDateTime(log_ts) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
