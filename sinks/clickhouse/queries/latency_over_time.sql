-- title: Latency over time
-- By minute, model and class: milliseconds to the first token, per further token and to the end of completed requests;
-- NaN where nothing streamed.
-- parameter: hours Float64 = 1  how far back
SELECT
    minute,
    model,
    latency_class,
    requests,
    round(ttft[1], 1) AS ttft_p50_ms,
    round(ttft[2], 1) AS ttft_p95_ms,
    round(ttft[3], 1) AS ttft_p99_ms,
    round(tpot[1], 2) AS tpot_p50_ms,
    round(tpot[2], 2) AS tpot_p95_ms,
    round(tpot[3], 2) AS tpot_p99_ms,
    round(e2e[1], 1) AS e2e_p50_ms,
    round(e2e[2], 1) AS e2e_p95_ms,
    round(e2e[3], 1) AS e2e_p99_ms
FROM (
    SELECT
        minute,
        model,
        latency_class,
        count() AS requests,
        quantilesTDigestIf(0.5, 0.95, 0.99)(ttft_ms, ttft_ms > 0) AS ttft,
        quantilesTDigestIf(0.5, 0.95, 0.99)(tpot_ms, tpot_ms > 0) AS tpot,
        quantilesTDigest(0.5, 0.95, 0.99)(e2e_ms) AS e2e
    FROM requests_final
    WHERE outcome = 'completed' AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY minute, model, latency_class
)
ORDER BY minute, model, latency_class
