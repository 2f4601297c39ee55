-- title: Report: requests and their ends
-- Each lane partition: offsets between the first and the last request of the range, and how many have exactly one end.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT
    lane_topic,
    lane_partition,
    min(lane_offset) AS first_offset,
    max(lane_offset) AS last_offset,
    last_offset - first_offset + 1 AS produced,
    uniqExact(lane_offset) AS ended,
    count() AS final_rows
FROM requests_final
WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime}
GROUP BY lane_topic, lane_partition
ORDER BY lane_topic, lane_partition
