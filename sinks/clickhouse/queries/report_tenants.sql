-- title: Report: tenants
-- What each tenant sent, got and used of the GPUs over all attempts, at the price of the hour; wasted is what attempts
-- used that did not complete a request.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: plan String = on_demand  which prices: reserved or on_demand
SELECT
    tenant,
    uniqExactMerge(origins) AS requests,
    sum(tokens_prompt) AS tokens_prompt,
    sum(tokens_reused) AS tokens_reused,
    sum(tokens_made) AS tokens_made,
    sum(useful) AS useful_ns,
    sum(wasted) AS wasted_ns,
    sum(useful / 3.6e12 * price) AS useful_usd,
    sum(wasted / 3.6e12 * price) AS wasted_usd
FROM (
    SELECT
        toString(a.tenant) AS tenant,
        uniqExactState(sipHash64(a.lane_topic, a.lane_partition, a.lane_offset)) AS origins,
        sum(a.tokens_in) AS tokens_prompt,
        sum(a.tokens_cached) AS tokens_reused,
        sum(a.tokens_out) AS tokens_made,
        sumIf(a.gpu_ns, a.final = 1 AND a.outcome = 'completed') AS useful,
        sumIf(a.gpu_ns, a.final = 0 OR a.outcome != 'completed') AS wasted,
        dictGetOrDefault(
            'gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), toStartOfHour(a.produced_ts), 0.
        ) AS price
    FROM attempts AS a
    LEFT JOIN worker_gpus AS g ON g.worker = a.worker
    WHERE a.produced_ts >= {from:DateTime} AND a.produced_ts < {to:DateTime}
    GROUP BY tenant, g.gpu, toStartOfHour(a.produced_ts)
)
GROUP BY tenant
ORDER BY useful_ns + wasted_ns DESC, tenant
