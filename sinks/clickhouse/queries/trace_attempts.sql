-- title: The attempts of a request
-- One row per attempt of each request with an id: its stations in microseconds after the record (0: not reached), what it
-- used, and whether its end is the one that readers accept.
-- parameter: id String  the request's id
SELECT
    lane_topic,
    lane_partition,
    lane_offset,
    tenant,
    model,
    latency_class,
    toUnixTimestamp64Micro(produced_ts) AS produced_us,
    attempt,
    hop,
    mode,
    deployment,
    worker,
    batch_id,
    batch_size,
    admitted_us,
    batched_us,
    dispatched_us,
    started_us,
    first_us,
    last_us,
    finished_us,
    deadline_us,
    tokens_in,
    tokens_cached,
    tokens_out,
    outcome,
    finish_reason,
    error_code,
    reason,
    gpu_ns,
    continued,
    continued_first_us,
    continued_last_us,
    toUInt8(
        final = 1
        AND row_number() OVER (
            PARTITION BY lane_topic, lane_partition, lane_offset, produced_ts
            ORDER BY
                final DESC, hop DESC, attempt = '', mode = 'fresh',
                if(mode = 'fresh', 1, -1) * toInt64(started_us), log_ts, kp, ko, ki
        ) = 1
    ) AS is_accepted
FROM (
    SELECT *
    FROM requests
    WHERE request_id = {id:String}
    ORDER BY log_ts, kp, ko, ki
    LIMIT 1 BY lane_topic, lane_partition, lane_offset, attempt, produced_ts
)
ORDER BY produced_us, lane_topic, lane_partition, lane_offset, hop, started_us, attempt
