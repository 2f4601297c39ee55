-- title: Cost by version
-- What the attempts of each version used of the engines and what that costs; wasted is what was not used by an attempt
-- whose answer readers accepted. Answers and tokens are of requests that ended at the version, each counted once.
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
SELECT
    deployment,
    sum(answers) AS answered,
    round(sum(used_ns) / 3.6e12, 6) AS gpu_hours,
    round(sum(used_ns / 3.6e12 * price), 6) AS busy_usd,
    round(sum((used_ns - useful_ns) / 3.6e12 * price), 6) AS wasted_usd,
    sum(prompt) AS prompt_tokens,
    sum(completion) AS completion_tokens,
    round(1e6 * sum(used_ns / 3.6e12 * price) / nullIf(completion_tokens, 0), 4) AS busy_usd_per_million_out
FROM (
    SELECT
        a.deployment AS deployment,
        a.answers AS answers,
        a.used_ns AS used_ns,
        a.useful_ns AS useful_ns,
        a.prompt AS prompt,
        a.completion AS completion,
        dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), a.hour, 0.) AS price
    FROM (
        SELECT
            deployment,
            worker,
            hour,
            sum(answers) AS answers,
            sum(used_ns) AS used_ns,
            sum(useful_ns) AS useful_ns,
            sum(prompt) AS prompt,
            sum(completion) AS completion
        FROM (
            SELECT
                toString(deployment) AS deployment,
                toString(worker) AS worker,
                toStartOfHour(produced_ts) AS hour,
                0 AS answers,
                sum(gpu_ns) AS used_ns,
                0 AS useful_ns,
                0 AS prompt,
                0 AS completion
            FROM attempts
            WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
            GROUP BY deployment, worker, hour
            UNION ALL
            SELECT
                toString(deployment) AS deployment,
                toString(worker) AS worker,
                toStartOfHour(produced_ts) AS hour,
                countIf(outcome = 'completed') AS answers,
                0 AS used_ns,
                sumIf(gpu_ns, outcome = 'completed') AS useful_ns,
                sum(tokens_in) AS prompt,
                sum(tokens_out) AS completion
            FROM requests_final
            WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
            GROUP BY deployment, worker, hour
        )
        GROUP BY deployment, worker, hour
    ) AS a
    LEFT JOIN worker_gpus AS g ON g.worker = a.worker
)
WHERE deployment != ''
GROUP BY deployment
ORDER BY busy_usd DESC, deployment
