-- title: Tokens and engine seconds by tenant
-- What each tenant sent, got and used of the engines, over all attempts: work that was thrown away counts as used.
-- parameter: hours Float64 = 24  how far back
SELECT
    tenant,
    uniqExact(lane_topic, lane_partition, lane_offset) AS requests,
    sum(tokens_in) AS prompt_tokens,
    sum(tokens_cached) AS cached_tokens,
    sum(tokens_out) AS completion_tokens,
    round(sum(gpu_ns) / 1e9, 3) AS engine_s,
    round(sumIf(gpu_ns, final = 0 OR outcome != 'completed') / 1e9, 3) AS wasted_s,
    round(sum(gpu_ns) / 1e3 / greatest(sum(tokens_out), 1), 1) AS engine_us_per_token_out
FROM attempts
WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY tenant
ORDER BY engine_s DESC, tenant
