-- title: Cost per million tokens
-- By model: what its engines' busy time cost per million tokens, and loaded with all that was paid for it, idle and
-- loading time among it. Wasted attempts count as cost, tokens once per request; empty where there were none.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
SELECT
    model,
    round(sum(used_ns) / 3.6e12, 6) AS gpu_hours,
    sum(prompt) AS prompt_tokens,
    sum(completion) AS completion_tokens,
    round(sum(used_usd), 6) AS busy_usd,
    round(sum(all_usd), 6) AS paid_usd,
    round(1e6 * sum(used_usd) / nullIf(completion_tokens, 0), 4) AS busy_usd_per_million_out,
    round(1e6 * sum(all_usd) / nullIf(completion_tokens, 0), 4) AS paid_usd_per_million_out,
    round(1e6 * sum(all_usd) / nullIf(prompt_tokens + completion_tokens, 0), 4) AS paid_usd_per_million_tokens
FROM (
    SELECT
        a.model AS model,
        a.used_ns AS used_ns,
        0 AS prompt,
        0 AS completion,
        used_ns / 3.6e12 * dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), a.hour, 0.)
            AS used_usd,
        0 AS all_usd
    FROM (
        SELECT
            toString(model) AS model,
            toString(worker) AS worker,
            toStartOfHour(produced_ts) AS hour,
            sum(gpu_ns) AS used_ns
        FROM attempts
        WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        GROUP BY model, worker, hour
    ) AS a
    LEFT JOIN worker_gpus AS g ON g.worker = a.worker
    UNION ALL
    SELECT
        toString(model) AS model,
        0 AS used_ns,
        sum(tokens_in) AS prompt,
        sum(tokens_out) AS completion,
        0 AS used_usd,
        0 AS all_usd
    FROM requests_final
    WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY model
    UNION ALL
    SELECT
        toString(model) AS model,
        0 AS used_ns,
        0 AS prompt,
        0 AS completion,
        0 AS used_usd,
        sum(paid_ns) / 3.6e12 * dictGetOrDefault(
            'gpu_price', 'usd_per_gpu_hour', (toString(gpu), {plan:String}), toStartOfHour(toStartOfMinute(ts)), 0.
        ) AS all_usd
    FROM gpu_samples
    WHERE toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY model, gpu, toStartOfMinute(ts)
)
WHERE model != ''
GROUP BY model
ORDER BY paid_usd DESC, model
