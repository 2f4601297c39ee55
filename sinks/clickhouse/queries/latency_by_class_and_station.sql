-- title: Latency by class and station
-- Milliseconds that completed requests took to reach each station from the one before that they reached (step) and
-- from their record (at), by model and class. Stations are those of the attempt that ended the request.
-- parameter: hours Float64 = 24  how far back
WITH
    greatest(admitted_us, batched_us) AS batched_by_us,
    greatest(batched_by_us, dispatched_us) AS dispatched_by_us,
    greatest(dispatched_by_us, started_us) AS started_by_us,
    greatest(started_by_us, first_us) AS first_by_us,
    greatest(first_by_us, last_us) AS last_by_us,
    (number, at_us, step_us) -> (
        number,
        countIf(at_us > 0),
        quantilesTDigestIf(0.5, 0.95)(step_us, at_us > 0),
        quantilesTDigestIf(0.5, 0.95)(at_us, at_us > 0)
    ) AS told
SELECT
    model,
    latency_class,
    ['admitted', 'batched', 'dispatched', 'started', 'first token', 'last token', 'finished'][s.1] AS station,
    s.2 AS requests,
    round(s.3[1] / 1000, 1) AS step_p50_ms,
    round(s.3[2] / 1000, 1) AS step_p95_ms,
    round(s.4[1] / 1000, 1) AS at_p50_ms,
    round(s.4[2] / 1000, 1) AS at_p95_ms
FROM (
    SELECT
        model,
        latency_class,
        [
            told(1, admitted_us, toInt64(admitted_us)),
            told(2, batched_us, toInt64(batched_us) - toInt64(admitted_us)),
            told(3, dispatched_us, toInt64(dispatched_us) - toInt64(batched_by_us)),
            told(4, started_us, toInt64(started_us) - toInt64(dispatched_by_us)),
            told(5, first_us, toInt64(first_us) - toInt64(started_by_us)),
            told(6, last_us, toInt64(last_us) - toInt64(first_by_us)),
            told(7, finished_us, toInt64(finished_us) - toInt64(last_by_us))
        ] AS stations
    FROM requests_final
    WHERE outcome = 'completed' AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY model, latency_class
)
ARRAY JOIN stations AS s
WHERE s.2 > 0
ORDER BY model, latency_class, s.1
