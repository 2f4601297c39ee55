-- title: Report: versions
-- What each deployment's attempts of the range were and used of the GPUs, and of the requests that ended at it, each
-- counted once, how they ended and, of answers that one attempt made, how fast they were.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT
    deployment,
    sum(tried) AS attempts,
    sum(ends) AS requests,
    sum(good) AS completed,
    sum(bad) AS failed,
    sum(went_on) AS resumed,
    if(requests > 0, sum(ttft), nan) AS ttft_p95_ms,
    if(requests > 0, sum(tpot), nan) AS tpot_p50_ms,
    sum(made) AS tokens_made,
    sum(used) AS used_ns
FROM (
    SELECT
        deployment,
        count() AS tried,
        countIf(mode != '' AND mode != 'fresh') AS went_on,
        sum(gpu_ns) AS used,
        0 AS ends,
        0 AS good,
        0 AS bad,
        0 AS ttft,
        0 AS tpot,
        0 AS made
    FROM attempts
    WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime} AND deployment != ''
    GROUP BY deployment
    UNION ALL
    SELECT
        deployment,
        0 AS tried,
        0 AS went_on,
        0 AS used,
        count() AS ends,
        countIf(outcome = 'completed') AS good,
        countIf(outcome = 'failed') AS bad,
        quantileTDigestIf(0.95)(ttft_ms, outcome = 'completed' AND continued = 0 AND ttft_ms > 0) AS ttft,
        quantileTDigestIf(0.5)(tpot_ms, outcome = 'completed' AND continued = 0 AND tpot_ms > 0) AS tpot,
        sum(tokens_out) AS made
    FROM requests_final
    WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime} AND deployment != ''
    GROUP BY deployment
)
GROUP BY deployment
ORDER BY attempts DESC, deployment
