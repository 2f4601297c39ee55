-- What was paid for: of every worker, its GPU time since the row before, and what became of it. Kept for 90 days.
-- In nanoseconds times GPUs, by the worker's monotonic clock: paid_ns = loading_ns + busy_ns + idle_ns in every row,
-- and the rows of one start (run) follow on each other: since_ts is the ts of the row before. settled_ns is engine
-- time that the rows of `requests` written meanwhile tell of; busy less settled is still running.
CREATE TABLE IF NOT EXISTS {database}.gpu_samples
(
    kp                UInt16 CODEC(T64, ZSTD(1)),
    ko                UInt64 CODEC(Delta(8), ZSTD(1)),
    ki                UInt32 CODEC(Delta(4), ZSTD(1)),
    log_ts            DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ts                DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    since_ts          DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    worker            LowCardinality(String),
    run               LowCardinality(String),
    model             LowCardinality(String),
    deployment        LowCardinality(String),
    gpu               LowCardinality(String),
    gpus              UInt64 CODEC(T64, ZSTD(1)),
    state             LowCardinality(String),
    paid_ns           UInt64 CODEC(T64, ZSTD(1)),
    loading_ns        UInt64 CODEC(T64, ZSTD(1)),
    busy_ns           UInt64 CODEC(T64, ZSTD(1)),
    idle_ns           UInt64 CODEC(T64, ZSTD(1)),
    settled_ns        UInt64 CODEC(T64, ZSTD(1)),
    utilization_ratio Float32 CODEC(ZSTD(1)),
    memory_bytes      UInt64 CODEC(T64, ZSTD(1)),
    power_w           Float32 CODEC(ZSTD(1)),
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    ),
    PROJECTION by_minute (
        SELECT toStartOfMinute(ts), worker, run, model, deployment, gpu, gpus,
               sum(paid_ns), sum(loading_ns), sum(busy_ns), sum(idle_ns), sum(settled_ns), count(),
               min(since_ts), max(ts), argMax(state, ts),
               sum(toUnixTimestamp64Micro(ts) - toUnixTimestamp64Micro(since_ts))
        GROUP BY toStartOfMinute(ts), worker, run, model, deployment, gpu, gpus
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (worker, ts)
TTL toDateTime(log_ts) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
