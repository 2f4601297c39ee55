-- title: Requests and their ends
-- Every lane: requests that were produced in the range, as far as an end, an attempt or an admission tells, those with
-- an end, and how they ended. Even means that each has exactly one. What no processor has read yet is not seen here
-- (`millrace status` shows it as lag); what still runs has no end yet.
-- parameter: hours Float64 = 24  how far back; admissions are known for a week
WITH now() - toIntervalSecond(3600 * {hours:Float64}) AS since
SELECT
    lane_topic,
    lane_partition,
    if(sum(priors) > 0, max(prior) + 1, min(lowest)) AS first_offset,
    greatest(max(highest) + 1, first_offset) AS up_to_offset,
    up_to_offset - first_offset AS produced,
    sum(ends) AS ended,
    produced - toInt64(ended) AS without_end,
    sum(completions) AS completed,
    sum(rejections) AS rejected,
    sum(expiries) AS expired,
    sum(cancellations) AS cancelled,
    sum(failures) AS failed,
    without_end = 0 AS is_even
FROM (
    SELECT
        lane_topic,
        lane_partition,
        countIf(produced_ts < since) AS priors,
        maxIf(toInt64(lane_offset), produced_ts < since) AS prior,
        if(ends > 0, minIf(toInt64(lane_offset), produced_ts >= since), 9223372036854775807) AS lowest,
        if(ends > 0, maxIf(toInt64(lane_offset), produced_ts >= since), -1) AS highest,
        countIf(produced_ts >= since) AS ends,
        countIf(outcome = 'completed' AND produced_ts >= since) AS completions,
        countIf(outcome = 'rejected' AND produced_ts >= since) AS rejections,
        countIf(outcome = 'expired' AND produced_ts >= since) AS expiries,
        countIf(outcome = 'cancelled' AND produced_ts >= since) AS cancellations,
        countIf(outcome = 'failed' AND produced_ts >= since) AS failures
    FROM requests_final
    WHERE produced_ts >= since - toIntervalHour(1)
    GROUP BY lane_topic, lane_partition
    UNION ALL
    SELECT
        lane_topic,
        lane_partition,
        0 AS priors,
        0 AS prior,
        min(toInt64(lane_offset)) AS lowest,
        max(toInt64(lane_offset)) AS highest,
        0 AS ends,
        0 AS completions,
        0 AS rejections,
        0 AS expiries,
        0 AS cancellations,
        0 AS failures
    FROM (
        SELECT lane_topic, lane_partition, lane_offset FROM requests WHERE final = 0 AND produced_ts >= since
        UNION ALL
        SELECT
            substringIndex(origin, '/', 1) AS lane_topic,
            toUInt64OrZero(splitByChar('/', origin)[2]) AS lane_partition,
            toUInt64OrZero(splitByChar('/', origin)[3]) AS lane_offset
        FROM events
        WHERE kind = 'request.admitted' AND origin != '' AND toStartOfMinute(ts) >= toStartOfMinute(since)
            AND ts - toIntervalMicrosecond(duration_us) >= since
    )
    GROUP BY lane_topic, lane_partition
)
GROUP BY lane_topic, lane_partition
HAVING max(highest) >= 0
ORDER BY lane_topic, lane_partition
