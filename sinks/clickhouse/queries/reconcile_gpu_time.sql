-- title: GPU time paid and accounted for
-- Every start of a worker: attributed to requests + idle + loading + in flight + unobserved (of a crashed one, from
-- its last report to the next start, and what its requests of that moment had used) = paid, to the nanosecond. Of an
-- orderly stop the requests tell of all that was busy; else of what the worker had settled at its last report, give or
-- take what ended within 5 s of it. `difference_ns` is what misses that; it holds if there is none, no report is
-- missing and no more is attributed than was paid.
-- parameter: hours Float64 = 24  starts that reported within so many hours
WITH
    runs AS (
        SELECT * FROM worker_runs WHERE reported_to >= now() - toIntervalSecond(3600 * {hours:Float64})
    ),
    told AS (
        SELECT
            a.worker AS worker,
            r.begins AS begins,
            sum(a.gpu_ns) AS attributed_ns,
            sumIf(a.gpu_ns, a.finished_ts <= r.reported_to + toIntervalSecond(5)) AS ended_ns,
            sumIf(a.gpu_ns, a.log_ts <= r.reported_to - toIntervalSecond(5)) AS told_before_ns,
            count() AS attempts
        FROM (
            SELECT
                toString(worker) AS worker,
                gpu_ns,
                log_ts,
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
    toInt64(runs.paid_ns) - toInt64(runs.loading_ns + runs.busy_ns + runs.idle_ns) + multiIf(
        runs.ended = 'stopped', toInt64(runs.busy_ns) - toInt64(attributed_ns),
        runs.settled_ns > told.ended_ns, toInt64(runs.settled_ns) - toInt64(told.ended_ns),
        runs.settled_ns < told.told_before_ns, toInt64(runs.settled_ns) - toInt64(told.told_before_ns),
        toInt64(0)
    ) AS difference_ns,
    toUnixTimestamp64Micro(runs.reported_to) - toUnixTimestamp64Micro(runs.begins) - runs.told_us AS missing_us,
    toUInt8(difference_ns = 0 AND missing_us = 0 AND unobserved_ns >= 0) AS holds
FROM runs
LEFT JOIN told ON told.worker = runs.worker AND told.begins = runs.begins
ORDER BY worker, runs.begins
