-- title: Throughput by minute
-- Requests and tokens that ended in each minute, by model and class; of those that took no longer than a day.
-- parameter: hours Float64 = 1  how far back
SELECT
    minute,
    model,
    latency_class,
    count() AS requests,
    round(count() / 60, 2) AS requests_per_s,
    round(sum(tokens_in) / 60, 1) AS tokens_in_per_s,
    round(sum(tokens_out) / 60, 1) AS tokens_out_per_s,
    round(countIf(outcome = 'completed') / count(), 4) AS completed_ratio
FROM requests_final
WHERE minute >= toStartOfMinute(now() - toIntervalSecond(3600 * {hours:Float64}))
    AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64} + 86400)
GROUP BY minute, model, latency_class
ORDER BY minute, model, latency_class
