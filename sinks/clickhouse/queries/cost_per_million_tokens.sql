-- title: Cost per million tokens
-- By model: what its engines' busy time cost per million tokens, and loaded with all that was paid for it, idle and
-- loading time among it. Wasted attempts count as cost.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
WITH paid AS (
    SELECT model, sum(paid_ns / 3.6e12 * price) AS usd
    FROM (
        SELECT
            toString(model) AS model,
            sum(paid_ns) AS paid_ns,
            dictGetOrDefault(
                'gpu_price', 'usd_per_gpu_hour', (toString(gpu), {plan:String}), toStartOfHour(toStartOfMinute(ts)), 0.
            ) AS price
        FROM gpu_samples
        WHERE toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
        GROUP BY model, gpu, toStartOfMinute(ts)
    )
    GROUP BY model
),
used AS (
    SELECT
        model,
        sum(used_ns) AS gpu_ns,
        sum(prompt) AS tokens_in,
        sum(completion) AS tokens_out,
        sum(used_ns / 3.6e12 * price) AS usd
    FROM (
        SELECT
            a.model AS model,
            a.used_ns AS used_ns,
            a.prompt AS prompt,
            a.completion AS completion,
            dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), a.hour, 0.) AS price
        FROM (
            SELECT
                toString(model) AS model,
                toString(worker) AS worker,
                toStartOfHour(produced_ts) AS hour,
                sum(gpu_ns) AS used_ns,
                sumIf(tokens_in, final = 1) AS prompt,
                sumIf(tokens_out, final = 1) AS completion
            FROM attempts
            WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
            GROUP BY model, worker, hour
        ) AS a
        LEFT JOIN worker_gpus AS g ON g.worker = a.worker
    )
    GROUP BY model
)
SELECT
    used.model AS model,
    round(used.gpu_ns / 3.6e12, 6) AS gpu_hours,
    used.tokens_in AS prompt_tokens,
    used.tokens_out AS completion_tokens,
    round(used.usd, 6) AS busy_usd,
    round(paid.usd, 6) AS paid_usd,
    round(1e6 * used.usd / greatest(used.tokens_out, 1), 4) AS busy_usd_per_million_out,
    round(1e6 * paid.usd / greatest(used.tokens_out, 1), 4) AS paid_usd_per_million_out,
    round(1e6 * paid.usd / greatest(used.tokens_in + used.tokens_out, 1), 4) AS paid_usd_per_million_tokens
FROM used
LEFT JOIN paid ON paid.model = used.model
ORDER BY paid_usd DESC
