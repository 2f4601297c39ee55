-- title: Cost by version
-- What the requests of each version used of the engines, over all attempts, and what that costs per million tokens.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
SELECT
    deployment,
    sum(requests) AS answered,
    round(sum(used_ns) / 3.6e12, 6) AS gpu_hours,
    round(sum(used_ns / 3.6e12 * price), 6) AS busy_usd,
    round(sum(wasted_ns / 3.6e12 * price), 6) AS wasted_usd,
    sum(prompt) AS prompt_tokens,
    sum(completion) AS completion_tokens,
    round(1e6 * busy_usd / greatest(completion_tokens, 1), 4) AS busy_usd_per_million_out
FROM (
    SELECT
        a.deployment AS deployment,
        a.requests AS requests,
        a.used_ns AS used_ns,
        a.wasted_ns AS wasted_ns,
        a.prompt AS prompt,
        a.completion AS completion,
        dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), a.hour, 0.) AS price
    FROM (
        SELECT
            toString(deployment) AS deployment,
            toString(worker) AS worker,
            toStartOfHour(produced_ts) AS hour,
            countIf(final = 1 AND outcome = 'completed') AS requests,
            sum(gpu_ns) AS used_ns,
            sumIf(gpu_ns, final = 0 OR outcome != 'completed') AS wasted_ns,
            sumIf(tokens_in, final = 1) AS prompt,
            sumIf(tokens_out, final = 1) AS completion
        FROM attempts
        WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        GROUP BY deployment, worker, hour
    ) AS a
    LEFT JOIN worker_gpus AS g ON g.worker = a.worker
)
WHERE deployment != ''
GROUP BY deployment
ORDER BY busy_usd DESC, deployment
