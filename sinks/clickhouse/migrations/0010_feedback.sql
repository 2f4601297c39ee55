-- What clients say about answers: a score or a label for a request id, beside the request. Kept for 90 days.
CREATE TABLE IF NOT EXISTS {database}.feedback
(
    kp         UInt16 CODEC(T64, ZSTD(1)),
    ko         UInt64 CODEC(Delta(8), ZSTD(1)),
    ki         UInt32 CODEC(Delta(4), ZSTD(1)),
    log_ts     DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ts         DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    request_id String CODEC(ZSTD(1)),
    signal     LowCardinality(String),
    score      Float64 CODEC(ZSTD(1)),
    label      LowCardinality(String),
    source     LowCardinality(String),
    PROJECTION by_request (SELECT _part_offset ORDER BY request_id),
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (signal, ts)
TTL toDateTime(log_ts) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;
