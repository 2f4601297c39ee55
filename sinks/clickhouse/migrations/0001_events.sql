-- What happened, as it was told: the raw story of every request, lane, slot and worker, for a week.
-- (kp, ko, ki) is where a row lay on the trace topic: partition, offset, index in its message.
CREATE TABLE IF NOT EXISTS {database}.events
(
    kp            UInt16 CODEC(T64, ZSTD(1)),
    ko            UInt64 CODEC(Delta(8), ZSTD(1)),
    ki            UInt32 CODEC(Delta(4), ZSTD(1)),
    log_ts        DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ts            DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    kind          LowCardinality(String),
    component     LowCardinality(String),
    process       LowCardinality(String),
    trace_id      FixedString(16) CODEC(ZSTD(1)),
    request_id    String CODEC(ZSTD(1)),
    origin        String CODEC(ZSTD(1)),
    attempt       String CODEC(ZSTD(1)),
    tenant        LowCardinality(String),
    latency_class LowCardinality(String),
    model         LowCardinality(String),
    deployment    LowCardinality(String),
    worker        LowCardinality(String),
    batch_id      String CODEC(ZSTD(1)),
    batch_size    UInt64 CODEC(T64, ZSTD(1)),
    tokens_in     UInt64 CODEC(T64, ZSTD(1)),
    tokens_out    UInt64 CODEC(T64, ZSTD(1)),
    duration_us   UInt64 CODEC(T64, ZSTD(1)),
    queue_depth   UInt64 CODEC(T64, ZSTD(1)),
    running       UInt64 CODEC(T64, ZSTD(1)),
    outcome       LowCardinality(String),
    error_code    LowCardinality(String),
    reason        LowCardinality(String),
    detail        String CODEC(ZSTD(1)),
    INDEX i_ts ts TYPE minmax GRANULARITY 1,
    PROJECTION by_request (SELECT _part_offset ORDER BY request_id),
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (kind, toStartOfMinute(ts), model, ts)
TTL toDateTime(log_ts) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
