-- title: Latency by class and station
-- Milliseconds that completed requests took to reach each station from the one before (step) and from their record (at).
-- parameter: hours Float64 = 24  how far back
SELECT
    latency_class,
    s.2 AS station,
    count() AS requests,
    round(quantilesTDigest(0.5, 0.95)(s.4)[1] / 1000, 1) AS step_p50_ms,
    round(quantilesTDigest(0.5, 0.95)(s.4)[2] / 1000, 1) AS step_p95_ms,
    round(quantilesTDigest(0.5, 0.95)(s.3)[1] / 1000, 1) AS at_p50_ms,
    round(quantilesTDigest(0.5, 0.95)(s.3)[2] / 1000, 1) AS at_p95_ms
FROM requests_final
ARRAY JOIN [
    (1, 'admitted', admitted_us, toInt64(admitted_us)),
    (2, 'batched', batched_us, toInt64(batched_us) - toInt64(admitted_us)),
    (3, 'dispatched', dispatched_us, toInt64(dispatched_us) - toInt64(batched_us)),
    (4, 'started', started_us, toInt64(started_us) - toInt64(dispatched_us)),
    (5, 'first token', first_us, toInt64(first_us) - toInt64(started_us)),
    (6, 'last token', last_us, toInt64(last_us) - toInt64(first_us)),
    (7, 'finished', finished_us, toInt64(finished_us) - toInt64(last_us))
] AS s
WHERE outcome = 'completed' AND s.3 > 0 AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
GROUP BY latency_class, s.1, s.2
ORDER BY latency_class, s.1
