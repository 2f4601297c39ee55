-- title: Report: queues over time
-- By model and bucket: requests still waiting after a batching decision, how long those taken had waited, sizes.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: step UInt32  seconds per bucket
SELECT
    model,
    toUInt32(intDiv(toUnixTimestamp(formed_ts) - toUnixTimestamp({from:DateTime}), {step:UInt32})) AS bucket,
    max(queue_depth) AS deepest,
    quantileTDigest(0.95)(wait_max_us) / 1000 AS wait_p95_ms,
    avg(size) AS mean_size
FROM batches
WHERE formed_ts >= {from:DateTime} AND formed_ts < {to:DateTime}
GROUP BY model, bucket
ORDER BY model, bucket
