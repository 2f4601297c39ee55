-- What an attempt that goes on after tokens of others found: how many, and when the first and the newest came. The other
-- columns of its row are its own; answer_* are those of the request. Rows of before continued nothing.
ALTER TABLE {database}.requests
    ADD COLUMN IF NOT EXISTS continued UInt64 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS continued_first_us UInt64 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS continued_last_us UInt64 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS answer_tokens UInt64 ALIAS continued + tokens_out,
    ADD COLUMN IF NOT EXISTS answer_first_us UInt64 ALIAS if(continued_first_us > 0, continued_first_us, first_us),
    ADD COLUMN IF NOT EXISTS answer_last_us UInt64 ALIAS if(last_us > 0, last_us, continued_last_us),
    MODIFY COLUMN ttft_ms Float32 MATERIALIZED if(continued_first_us > 0, continued_first_us, first_us) / 1000,
    MODIFY COLUMN tpot_ms Float32 MATERIALIZED if(
        continued + tokens_out > 1
        AND if(last_us > 0, last_us, continued_last_us) > if(continued_first_us > 0, continued_first_us, first_us),
        (if(last_us > 0, last_us, continued_last_us) - if(continued_first_us > 0, continued_first_us, first_us))
            / (continued + tokens_out - 1) / 1000,
        0
    );

-- One row per request, as before: its tokens are all of the answer, its stations those of the attempt that ended it.
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

-- One row per attempt, as before: its tokens and stations are its own.
CREATE OR REPLACE VIEW {database}.attempts AS
SELECT *, minute, ttft_ms, e2e_ms, tpot_ms, answer_tokens, answer_first_us, answer_last_us
FROM {database}.requests
QUALIFY row_number() OVER (
    PARTITION BY produced_ts, cityHash64(lane_topic, lane_partition, lane_offset, attempt)
    ORDER BY log_ts, kp, ko, ki
) = 1;
