-- title: Report: versions
-- Each deployment's attempts in the range: how they ended, how fast they were and what they used of the GPUs.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT
    deployment,
    count() AS attempts,
    countIf(outcome = 'completed') AS completed,
    countIf(outcome = 'failed') AS failed,
    countIf(mode != '' AND mode != 'fresh') AS resumed,
    quantileTDigestIf(0.95)(ttft_ms, outcome = 'completed' AND first_us > 0) AS ttft_p95_ms,
    quantileTDigestIf(0.5)(tpot_ms, outcome = 'completed' AND tpot_ms > 0) AS tpot_p50_ms,
    sum(tokens_out) AS tokens_made,
    sum(gpu_ns) AS used_ns
FROM attempts
WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime} AND deployment != ''
GROUP BY deployment
ORDER BY attempts DESC, deployment
