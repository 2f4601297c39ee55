-- title: Top tenants
-- Who used the engines most, with their share of all engine time and how their requests fared.
-- parameter: hours Float64 = 24  how far back
-- parameter: limit UInt32 = 20  how many
SELECT
    tenant,
    requests,
    round(engine_ns / 1e9, 3) AS engine_s,
    round(engine_ns / greatest(sum(engine_ns) OVER (), 1), 4) AS engine_ratio,
    prompt_tokens,
    completion_tokens,
    round(not_completed / greatest(ends, 1), 4) AS not_completed_ratio
FROM (
    SELECT
        tenant,
        uniqExact(lane_topic, lane_partition, lane_offset) AS requests,
        sum(gpu_ns) AS engine_ns,
        sumIf(tokens_in, final = 1) AS prompt_tokens,
        sumIf(tokens_out, final = 1) AS completion_tokens,
        countIf(final = 1) AS ends,
        countIf(final = 1 AND outcome != 'completed') AS not_completed
    FROM attempts
    WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY tenant
)
ORDER BY engine_s DESC, tenant
LIMIT {limit:UInt32}
