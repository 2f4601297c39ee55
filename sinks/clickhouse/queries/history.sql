-- title: The long run
-- By day, model and class, from minutes that are kept for two years: how many requests ended and how many of them were
-- completed, their tokens, the engine time of what was answered, and milliseconds of completed ones.
-- parameter: days Float64 = 30  how far back
SELECT
    day,
    model,
    latency_class,
    requests,
    round(completed / requests, 4) AS completed_ratio,
    tokens_in,
    tokens_out,
    engine_s,
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
        toDate(minute) AS day,
        model,
        latency_class,
        sum(h.requests) AS requests,
        sumIf(h.requests, outcome = 'completed') AS completed,
        sum(h.tokens_in) AS tokens_in,
        sum(h.tokens_out) AS tokens_out,
        round(sum(h.gpu_ns) / 1e9, 3) AS engine_s,
        quantilesTDigestMergeIf(0.5, 0.95, 0.99)(h.ttft_ms, outcome = 'completed') AS ttft,
        quantilesTDigestMergeIf(0.5, 0.95, 0.99)(h.tpot_ms, outcome = 'completed') AS tpot,
        quantilesTDigestMergeIf(0.5, 0.95, 0.99)(h.e2e_ms, outcome = 'completed') AS e2e
    FROM requests_history AS h
    WHERE minute >= now() - toIntervalSecond(86400 * {days:Float64})
    GROUP BY day, model, latency_class
)
ORDER BY day, model, latency_class
