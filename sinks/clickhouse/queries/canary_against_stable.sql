-- title: Canary against stable
-- Two versions of a model over the same time, by class: errors, latency and engine time per token, and how likely the
-- difference in first tokens and per token is chance (Welch's test of logarithms). Of answers that went on after
-- another attempt, only the engine time of the last one is compared. No rows: no versions were given and there was no
-- rollout.
-- parameter: hours Float64 = 24  how far back
-- parameter: stable String = newest-rollout  deployment, e.g. smollm2@v1; that of the newest rollout if not given
-- parameter: canary String = newest-rollout  deployment to compare with it
WITH
    if({stable:String} = 'newest-rollout', (SELECT argMax(stable, ts) FROM rollout_decisions), {stable:String})
        AS stable_version,
    if({canary:String} = 'newest-rollout', (SELECT argMax(canary, ts) FROM rollout_decisions), {canary:String})
        AS canary_version
SELECT
    latency_class,
    countIf(deployment = stable_version) AS stable_requests,
    countIf(deployment = canary_version) AS canary_requests,
    round(countIf(outcome = 'failed' AND deployment = stable_version) / greatest(stable_requests, 1), 4)
        AS stable_failed_ratio,
    round(countIf(outcome = 'failed' AND deployment = canary_version) / greatest(canary_requests, 1), 4)
        AS canary_failed_ratio,
    round(quantileTDigestIf(0.95)(ttft_ms, is_good AND deployment = stable_version), 1) AS stable_ttft_p95_ms,
    round(quantileTDigestIf(0.95)(ttft_ms, is_good AND deployment = canary_version), 1) AS canary_ttft_p95_ms,
    round(quantileTDigestIf(0.95)(tpot_ms, is_good AND deployment = stable_version), 2) AS stable_tpot_p95_ms,
    round(quantileTDigestIf(0.95)(tpot_ms, is_good AND deployment = canary_version), 2) AS canary_tpot_p95_ms,
    round(welchTTestIf(log(ttft_ms), deployment = canary_version, is_good).2, 4) AS ttft_p_value,
    round(welchTTestIf(log(tpot_ms), deployment = canary_version, is_good AND tpot_ms > 0).2, 4) AS tpot_p_value,
    round(
        sumIf(gpu_ns, deployment = stable_version) / 1e3
            / greatest(sumIf(tokens_out, deployment = stable_version), 1),
        1
    ) AS stable_engine_us_per_token,
    round(
        sumIf(gpu_ns, deployment = canary_version) / 1e3
            / greatest(sumIf(tokens_out, deployment = canary_version), 1),
        1
    ) AS canary_engine_us_per_token
FROM (
    SELECT *, outcome = 'completed' AND continued = 0 AND tokens_out > 1 AND ttft_ms > 0 AS is_good
    FROM (
        SELECT
            latency_class, toString(deployment) AS deployment, outcome, ttft_ms, tpot_ms, continued,
            tokens_out - continued AS tokens_out, gpu_ns
        FROM requests_final
        WHERE produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    )
    WHERE deployment IN (stable_version, canary_version) AND stable_version != '' AND canary_version != ''
)
GROUP BY latency_class
ORDER BY latency_class
