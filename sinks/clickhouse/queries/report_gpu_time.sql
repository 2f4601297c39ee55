-- title: Report: GPU time over time
-- What was paid for in each bucket, in nanoseconds times GPUs: busy, idle and loading as the workers reported it, and
-- unobserved: from the last report of a start that crashed to the next start of its worker.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: step UInt32  seconds per bucket
WITH
    toInt64(toUnixTimestamp({from:DateTime})) * 1000000 AS from_us,
    toInt64(toUnixTimestamp({to:DateTime})) * 1000000 AS to_us,
    toInt64({step:UInt32}) * 1000000 AS step_us
SELECT
    toUInt32(place) AS bucket,
    sum(busy_part) AS busy,
    sum(idle_part) AS idle,
    sum(loading_part) AS loading,
    sum(gap_part) AS unobserved
FROM (
    SELECT
        intDiv(toUnixTimestamp64Micro(ts) - from_us, step_us) AS place,
        sum(busy_ns) AS busy_part,
        sum(idle_ns) AS idle_part,
        sum(loading_ns) AS loading_part,
        toUInt64(0) AS gap_part
    FROM gpu_samples
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime}
    GROUP BY place
    UNION ALL
    SELECT
        arrayJoin(range(intDiv(gap_from_us - from_us, step_us), intDiv(gap_to_us - 1 - from_us, step_us) + 1)) AS place,
        toUInt64(0) AS busy_part,
        toUInt64(0) AS idle_part,
        toUInt64(0) AS loading_part,
        toUInt64(
            least(gap_to_us, from_us + (place + 1) * step_us) - greatest(gap_from_us, from_us + place * step_us)
        ) * 1000 * gpus AS gap_part
    FROM (
        SELECT
            gpus,
            greatest(toUnixTimestamp64Micro(reported_to), from_us) AS gap_from_us,
            least(toUnixTimestamp64Micro(next_begins), to_us) AS gap_to_us
        FROM worker_runs
        WHERE ended = 'crashed'
    )
    WHERE gap_to_us > gap_from_us
)
GROUP BY bucket
ORDER BY bucket
