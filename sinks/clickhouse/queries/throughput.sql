-- title: Throughput by minute
-- Requests and tokens that ended in each minute, by model and class.
-- parameter: hours Float64 = 1  how far back
SELECT
    minute,
    model,
    latency_class,
    sum(m.requests) AS requests,
    round(requests / 60, 2) AS requests_per_s,
    round(sum(m.tokens_in) / 60, 1) AS tokens_in_per_s,
    round(sum(m.tokens_out) / 60, 1) AS tokens_out_per_s,
    round(sumIf(m.requests, outcome = 'completed') / requests, 4) AS completed_ratio
FROM requests_minutes AS m
WHERE minute >= toStartOfMinute(now() - toIntervalSecond(3600 * {hours:Float64}))
GROUP BY minute, model, latency_class
ORDER BY minute, model, latency_class
