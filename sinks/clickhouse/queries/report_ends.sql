-- title: Report: requests and their ends
-- Each lane partition: places in its log from the first to the last request of the range that an end, an attempt or an
-- admission tells of, and how many have exactly one end. What no processor has read yet is not seen here.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT
    lane_topic,
    lane_partition,
    if(sum(priors) > 0, max(prior) + 1, min(lowest)) AS first_offset,
    greatest(max(highest), first_offset) AS last_offset,
    last_offset - first_offset + 1 AS produced,
    sum(ends) AS ended,
    sum(rows) AS final_rows
FROM (
    SELECT
        lane_topic,
        lane_partition,
        countIf(produced_ts < {from:DateTime}) AS priors,
        maxIf(toInt64(lane_offset), produced_ts < {from:DateTime}) AS prior,
        if(rows > 0, minIf(toInt64(lane_offset), produced_ts >= {from:DateTime}), 9223372036854775807) AS lowest,
        if(rows > 0, maxIf(toInt64(lane_offset), produced_ts >= {from:DateTime}), -1) AS highest,
        uniqExactIf(lane_offset, produced_ts >= {from:DateTime}) AS ends,
        countIf(produced_ts >= {from:DateTime}) AS rows
    FROM requests_final
    WHERE produced_ts >= {from:DateTime} - toIntervalHour(1) AND produced_ts < {to:DateTime}
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
        0 AS rows
    FROM (
        SELECT lane_topic, lane_partition, lane_offset
        FROM requests
        WHERE final = 0 AND produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime}
        UNION ALL
        SELECT
            substringIndex(origin, '/', 1) AS lane_topic,
            toUInt64OrZero(splitByChar('/', origin)[2]) AS lane_partition,
            toUInt64OrZero(splitByChar('/', origin)[3]) AS lane_offset
        FROM events
        WHERE kind = 'request.admitted' AND origin != ''
            AND toStartOfMinute(ts) >= toStartOfMinute({from:DateTime}) AND ts < {to:DateTime} + toIntervalDay(1)
            AND ts - toIntervalMicrosecond(duration_us) >= {from:DateTime}
            AND ts - toIntervalMicrosecond(duration_us) < {to:DateTime}
    )
    GROUP BY lane_topic, lane_partition
)
GROUP BY lane_topic, lane_partition
HAVING max(highest) >= first_offset
ORDER BY lane_topic, lane_partition
