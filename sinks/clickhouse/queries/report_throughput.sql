-- title: Report: throughput over time
-- Requests by lane, outcome and the bucket in which they ended, with their tokens.
-- What was produced up to a day before the range and ended in it counts.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
-- parameter: step UInt32  seconds per bucket
SELECT
    model,
    latency_class,
    outcome,
    toUInt32(intDiv(toUnixTimestamp(ended_at) - toUnixTimestamp({from:DateTime}), {step:UInt32})) AS bucket,
    count() AS requests,
    sum(tokens_in) AS tokens_prompt,
    sum(tokens_out) AS tokens_made
FROM (
    SELECT model, latency_class, outcome, tokens_in, tokens_out, produced_ts + toIntervalMicrosecond(finished_us) AS ended_at
    FROM requests_final
    WHERE produced_ts >= {from:DateTime} - INTERVAL 1 DAY AND produced_ts < {to:DateTime}
)
WHERE ended_at >= {from:DateTime} AND ended_at < {to:DateTime}
GROUP BY model, latency_class, outcome, bucket
ORDER BY model, latency_class, outcome, bucket
