-- title: Tokens and engine seconds by tenant
-- What each tenant sent and got, each request with an end counted once, and what that used of the engines over all
-- attempts: wasted is what was not used by the attempt whose answer readers accepted.
-- parameter: hours Float64 = 24  how far back
SELECT
    tenant,
    sum(ended) AS requests,
    sum(prompt) AS prompt_tokens,
    sum(cached) AS cached_tokens,
    sum(completion) AS completion_tokens,
    round(sum(used_ns) / 1e9, 3) AS engine_s,
    round((sum(used_ns) - sum(useful_ns)) / 1e9, 3) AS wasted_s,
    round(sum(used_ns) / 1e3 / nullIf(completion_tokens, 0), 1) AS engine_us_per_token_out
FROM (
    SELECT tenant, sum(gpu_ns) AS used_ns, 0 AS useful_ns, 0 AS ended, 0 AS prompt, 0 AS cached, 0 AS completion
    FROM attempts
    WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY tenant
    UNION ALL
    SELECT
        tenant,
        0 AS used_ns,
        sumIf(gpu_ns, outcome = 'completed') AS useful_ns,
        count() AS ended,
        sum(tokens_in) AS prompt,
        sum(tokens_cached) AS cached,
        sum(tokens_out) AS completion
    FROM requests_final
    WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY tenant
)
GROUP BY tenant
ORDER BY engine_s DESC, tenant
