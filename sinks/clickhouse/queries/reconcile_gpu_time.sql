-- title: GPU time paid and accounted for
-- Every start of a worker: attributed to requests + idle + loading + in flight + unobserved (of a crashed one, from its
-- last report to the next start, and what its requests of that moment had used) = paid, to the nanosecond. It holds if
-- no report is missing, and requests tell of no more and, where the worker stopped in order, no less than was busy.
-- parameter: hours Float64 = 24  starts that reported within so many hours
WITH
    runs AS (
        SELECT * FROM worker_runs WHERE reported_to >= now() - toIntervalSecond(3600 * {hours:Float64})
    ),
    told AS (
        SELECT a.worker AS worker, r.begins AS begins, sum(a.gpu_ns) AS attributed_ns, count() AS attempts
        FROM (
            SELECT
                toString(worker) AS worker,
                gpu_ns,
                produced_ts + toIntervalMicrosecond(finished_us) AS finished_ts
            FROM attempts
            WHERE gpu_ns > 0 AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64} + 86400)
        ) AS a
        ASOF JOIN runs AS r ON a.worker = r.worker AND a.finished_ts >= r.begins
        GROUP BY worker, begins
    )
SELECT
    runs.worker AS worker,
    runs.run AS run,
    runs.ended AS ended,
    told.attempts AS attempts,
    runs.paid_ns + runs.gap_ns AS all_paid_ns,
    toUInt64(told.attributed_ns) AS attributed_ns,
    runs.idle_ns AS idle_ns,
    runs.loading_ns AS loading_ns,
    if(runs.ended = 'running', toInt64(runs.busy_ns) - toInt64(attributed_ns), 0) AS in_flight_ns,
    if(runs.ended = 'crashed', toInt64(runs.gap_ns + runs.busy_ns) - toInt64(attributed_ns), 0) AS unobserved_ns,
    toInt64(all_paid_ns) - toInt64(attributed_ns + idle_ns + loading_ns) - in_flight_ns - unobserved_ns
        AS difference_ns,
    toUnixTimestamp64Micro(runs.reported_to) - toUnixTimestamp64Micro(runs.begins) - runs.told_us AS missing_us,
    toUInt8(
        difference_ns = 0
        AND missing_us = 0
        AND runs.paid_ns = runs.loading_ns + runs.busy_ns + runs.idle_ns
        AND attributed_ns >= runs.settled_ns
        AND unobserved_ns >= 0
    ) AS holds
FROM runs
LEFT JOIN told ON told.worker = runs.worker AND told.begins = runs.begins
ORDER BY worker, runs.begins
