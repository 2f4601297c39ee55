-- title: Report: engines over time
-- GPU time of all workers by bucket: what was reported and how much of it engines were busy; sequences run together.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: step UInt32  seconds per bucket
SELECT
    toUInt32(intDiv(toUnixTimestamp(ts) - toUnixTimestamp({from:DateTime}), {step:UInt32})) AS bucket,
    uniqExact(worker) AS workers,
    sum(interval_us * gpus) * 1000 AS reported_ns,
    sum(busy_us * gpus) * 1000 AS busy_ns,
    sum(decode_tokens) / greatest(sum(steps), 1) AS mean_running,
    max(running_max) AS most_running,
    max(waiting_max) AS most_waiting
FROM engine_steps
WHERE ts >= {from:DateTime} AND ts < {to:DateTime}
GROUP BY bucket
ORDER BY bucket
