-- title: Requests and their ends
-- Every lane: requests on it as far as rows tell (up to its highest offset), those with an end, by outcome. Even means
-- that each offset has exactly one; rows beyond one per attempt are retold after a take-over and do no harm.
SELECT
    lane_topic,
    lane_partition,
    max(lane_offset) + 1 AS up_to_offset,
    count() AS ended,
    up_to_offset - ended AS without_end,
    countIf(outcome = 'completed') AS completed,
    countIf(outcome = 'rejected') AS rejected,
    countIf(outcome = 'expired') AS expired,
    countIf(outcome = 'cancelled') AS cancelled,
    countIf(outcome = 'failed') AS failed,
    without_end = 0 AS is_even
FROM requests_final
GROUP BY lane_topic, lane_partition
ORDER BY lane_topic, lane_partition
