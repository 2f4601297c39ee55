-- title: Report: tenants
-- What each tenant sent and got, each request with an end counted once, and what that used of the GPUs over all
-- attempts, at the price of the hour, if it has one; wasted is what was not used by the attempt whose answer readers
-- accepted.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: plan String = on_demand  which prices: reserved or on_demand
SELECT
    tenant,
    sum(ended) AS requests,
    sum(prompt) AS tokens_prompt,
    sum(reused) AS tokens_reused,
    sum(made) AS tokens_made,
    sum(useful) AS useful_ns,
    sum(used - useful) AS wasted_ns,
    sum(useful / 3.6e12 * price) AS useful_usd,
    sum((used - useful) / 3.6e12 * price) AS wasted_usd,
    sumIf(used, has_no_price) AS unpriced_ns
FROM (
    SELECT
        a.tenant AS tenant,
        a.ended AS ended,
        a.prompt AS prompt,
        a.reused AS reused,
        a.made AS made,
        a.used AS used,
        a.useful AS useful,
        dictGetOrNull('gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), a.hour) AS known_price,
        known_price IS NULL AS has_no_price,
        ifNull(known_price, 0.) AS price
    FROM (
        SELECT
            tenant,
            worker,
            hour,
            sum(used) AS used,
            sum(useful) AS useful,
            sum(ended) AS ended,
            sum(prompt) AS prompt,
            sum(reused) AS reused,
            sum(made) AS made
        FROM (
            SELECT
                toString(tenant) AS tenant,
                toString(worker) AS worker,
                toStartOfHour(produced_ts) AS hour,
                sum(gpu_ns) AS used,
                0 AS useful,
                0 AS ended,
                0 AS prompt,
                0 AS reused,
                0 AS made
            FROM attempts
            WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime}
            GROUP BY tenant, worker, hour
            UNION ALL
            SELECT
                toString(tenant) AS tenant,
                toString(worker) AS worker,
                toStartOfHour(produced_ts) AS hour,
                0 AS used,
                sumIf(gpu_ns, outcome = 'completed') AS useful,
                count() AS ended,
                sum(tokens_in) AS prompt,
                sum(tokens_cached) AS reused,
                sum(tokens_out) AS made
            FROM requests_final
            WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime}
            GROUP BY tenant, worker, hour
        )
        GROUP BY tenant, worker, hour
    ) AS a
    LEFT JOIN worker_gpus AS g ON g.worker = a.worker
)
GROUP BY tenant
ORDER BY useful_ns + wasted_ns DESC, tenant
