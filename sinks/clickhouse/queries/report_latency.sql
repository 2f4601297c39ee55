-- title: Report: latency over time
-- Milliseconds of completed requests by lane and the bucket in which they were produced; NaN where nothing streamed.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: step UInt32  seconds per bucket
SELECT
    model,
    latency_class,
    toUInt32(intDiv(toUnixTimestamp(produced_ts) - toUnixTimestamp({from:DateTime}), {step:UInt32})) AS bucket,
    count() AS requests,
    quantilesTDigestIf(0.5, 0.95, 0.99)(ttft_ms, ttft_ms > 0) AS first_token_ms,
    quantilesTDigest(0.5, 0.95, 0.99)(e2e_ms) AS whole_ms
FROM requests_final
WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime} AND outcome = 'completed'
GROUP BY model, latency_class, bucket
ORDER BY model, latency_class, bucket
