-- title: Top tenants
-- Who used the engines most, over all attempts, with their share of all engine time and how their requests ended.
-- Requests and tokens are those of requests with an end, each counted once.
-- parameter: hours Float64 = 24  how far back
-- parameter: limit UInt32 = 20  how many
SELECT
    tenant,
    ends AS requests,
    round(engine_ns / 1e9, 3) AS engine_s,
    round(engine_ns / greatest(sum(engine_ns) OVER (), 1), 4) AS engine_ratio,
    prompt_tokens,
    completion_tokens,
    round(not_completed / nullIf(ends, 0), 4) AS not_completed_ratio
FROM (
    SELECT
        tenant,
        sum(used_ns) AS engine_ns,
        sum(ended) AS ends,
        sum(missed) AS not_completed,
        sum(prompt) AS prompt_tokens,
        sum(completion) AS completion_tokens
    FROM (
        SELECT tenant, sum(gpu_ns) AS used_ns, 0 AS ended, 0 AS missed, 0 AS prompt, 0 AS completion
        FROM attempts
        WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        GROUP BY tenant
        UNION ALL
        SELECT
            tenant,
            0 AS used_ns,
            count() AS ended,
            countIf(outcome != 'completed') AS missed,
            sum(tokens_in) AS prompt,
            sum(tokens_out) AS completion
        FROM requests_final
        WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        GROUP BY tenant
    )
    GROUP BY tenant
)
ORDER BY engine_ns DESC, tenant
LIMIT {limit:UInt32}
