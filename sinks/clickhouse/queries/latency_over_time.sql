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
FROM requests_minutes
WHERE outcome = 'completed' AND minute >= toStartOfMinute(now() - toIntervalSecond(3600 * {hours:Float64}))
ORDER BY minute, model, latency_class
