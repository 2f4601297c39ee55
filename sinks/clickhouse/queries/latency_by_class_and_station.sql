-- title: Latency by class and station
-- Milliseconds that completed requests took to reach each station from the one before that they reached (step) and
-- from their record (at), by model and class. Stations are those of the attempt that ended the request.
-- parameter: hours Float64 = 24  how far back
WITH
    greatest(admitted_us, batched_us) AS batched_by_us,
    greatest(batched_by_us, dispatched_us) AS dispatched_by_us,
    greatest(dispatched_by_us, started_us) AS started_by_us,
    greatest(started_by_us, first_us) AS first_by_us,
    greatest(first_by_us, last_us) AS last_by_us
SELECT
    model,
    latency_class,
    ['admitted', 'batched', 'dispatched', 'started', 'first token', 'last token', 'finished'][s.1] AS station,
    count() AS requests,
    round(quantilesTDigest(0.5, 0.95)(s.3)[1] / 1000, 1) AS step_p50_ms,
    round(quantilesTDigest(0.5, 0.95)(s.3)[2] / 1000, 1) AS step_p95_ms,
    round(quantilesTDigest(0.5, 0.95)(s.2)[1] / 1000, 1) AS at_p50_ms,
    round(quantilesTDigest(0.5, 0.95)(s.2)[2] / 1000, 1) AS at_p95_ms
FROM requests_final
ARRAY JOIN [
    (1, admitted_us, toInt64(admitted_us)),
    (2, batched_us, toInt64(batched_us) - toInt64(admitted_us)),
    (3, dispatched_us, toInt64(dispatched_us) - toInt64(batched_by_us)),
    (4, started_us, toInt64(started_us) - toInt64(dispatched_by_us)),
    (5, first_us, toInt64(first_us) - toInt64(started_by_us)),
    (6, last_us, toInt64(last_us) - toInt64(first_by_us)),
    (7, finished_us, toInt64(finished_us) - toInt64(last_by_us))
] AS s
WHERE outcome = 'completed' AND s.2 > 0 AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY model, latency_class, s.1
ORDER BY model, latency_class, s.1
