-- What is known of a request's texts: lengths in characters, and hashes that are equal where the texts of one tenant are.
-- 0 where nothing is kept, where the request had none, and in rows of before.
ALTER TABLE {database}.requests
    ADD COLUMN IF NOT EXISTS prompt_chars UInt64 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS prompt_hash UInt64 CODEC(NONE),
    ADD COLUMN IF NOT EXISTS answer_chars UInt64 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS answer_hash UInt64 CODEC(NONE);

-- Prompts and answers of tenants that allow it, and of no others. Kept for 30 days.
CREATE TABLE IF NOT EXISTS {database}.texts
(
    kp             UInt16 CODEC(T64, ZSTD(1)),
    ko             UInt64 CODEC(Delta(8), ZSTD(1)),
    ki             UInt32 CODEC(Delta(4), ZSTD(1)),
    log_ts         DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ts             DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    request_id     String CODEC(ZSTD(1)),
    lane_topic     LowCardinality(String),
    lane_partition UInt64 CODEC(T64, ZSTD(1)),
    lane_offset    UInt64 CODEC(Delta(8), ZSTD(1)),
    attempt        String CODEC(ZSTD(1)),
    tenant         LowCardinality(String),
    latency_class  LowCardinality(String),
    model          LowCardinality(String),
    deployment     LowCardinality(String),
    prompt         String CODEC(ZSTD(3)),
    answer         String CODEC(ZSTD(3)),
    PROJECTION by_request (SELECT _part_offset ORDER BY request_id),
    PROJECTION hwm (
        SELECT kp, toDate(log_ts), min(ko), max(ko), max(log_ts), count() GROUP BY kp, toDate(log_ts)
    )
)
ENGINE = MergeTree
PARTITION BY toDate(log_ts)
ORDER BY (tenant, model, ts)
TTL toDateTime(log_ts) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- The views as before, with the new columns.
CREATE OR REPLACE VIEW {database}.requests_final AS
SELECT * REPLACE (answer_tokens AS tokens_out), minute, ttft_ms, e2e_ms, tpot_ms, answer_first_us, answer_last_us
FROM {database}.requests
WHERE final = 1
QUALIFY row_number() OVER (
    PARTITION BY produced_ts, cityHash64(lane_topic, lane_partition, lane_offset)
    ORDER BY
        hop * 4 + (attempt != '') * 2 + (mode != 'fresh') DESC,
        if(mode = 'fresh', toInt64(started_us), -toInt64(started_us)),
        log_ts, kp, ko, ki
) = 1;

CREATE OR REPLACE VIEW {database}.attempts AS
SELECT *, minute, ttft_ms, e2e_ms, tpot_ms, answer_tokens, answer_first_us, answer_last_us
FROM {database}.requests
QUALIFY row_number() OVER (
    PARTITION BY produced_ts, cityHash64(lane_topic, lane_partition, lane_offset, attempt)
    ORDER BY log_ts, kp, ko, ki
) = 1;
