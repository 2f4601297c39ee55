-- title: Prediction error of the scheduler
-- How far requests were from what the processor had predicted when it dispatched them, counted from that decision on:
-- the first token where engines batch continuously, the end of the batch where they run batches to completion. Of
-- requests that one dispatch served from the beginning; above 0 they came later than predicted.
-- parameter: hours Float64 = 1  how far back
SELECT
    lanes.model AS model,
    lanes.latency_class AS latency_class,
    if(is_batch, 'batch', 'first token') AS predicted,
    requests,
    round(mean_error, 2) AS mean_error_ms,
    round(absolute_errors[1], 2) AS absolute_error_p50_ms,
    round(absolute_errors[2], 2) AS absolute_error_p95_ms,
    round(relative_error, 4) AS relative_error_mean,
    round(later / requests, 4) AS later_than_predicted_ratio
FROM (
    SELECT
        lane,
        is_batch,
        count() AS requests,
        avg(actual_ms - predicted_ms) AS mean_error,
        quantilesTDigest(0.5, 0.95)(abs(actual_ms - predicted_ms)) AS absolute_errors,
        avg(abs(actual_ms - predicted_ms) / greatest(actual_ms, 1)) AS relative_error,
        countIf(actual_ms > predicted_ms) AS later
    FROM (
        -- Model and class as one number, named at the end: two texts would double the state of each request.
        SELECT
            sum(lane) AS lane,
            max(by_batch) AS is_batch,
            sum(told_ms) AS predicted_ms,
            argMin(was_ms, acceptance) AS actual_ms
        FROM (
            SELECT
                cityHash64(origin) AS place,
                cityHash64(model, latency_class) AS lane,
                1 AS predictions,
                simpleJSONExtractFloat(detail, 'predicted_ttft_s') AS ttft_s,
                ttft_s = 0 AS by_batch,
                1000 * if(
                    by_batch,
                    simpleJSONExtractFloat(detail, 'starts_in_s') + simpleJSONExtractFloat(detail, 'service_s'),
                    ttft_s
                ) AS told_ms,
                nan AS was_ms,
                9223372036854775807 AS acceptance
            FROM events
            WHERE kind = 'request.dispatched' AND detail != '' AND told_ms > 0
                AND toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
            UNION ALL
            SELECT
                cityHash64(concat(lane_topic, '/', toString(lane_partition), '/', toString(lane_offset))) AS place,
                toUInt64(0) AS lane,
                0 AS predictions,
                0. AS ttft_s,
                0 AS by_batch,
                0. AS told_ms,
                if(
                    outcome = 'completed' AND attempt != '' AND mode = 'fresh' AND batched_us > 0,
                    (toFloat64(if(first_us > 0, first_us, finished_us)) - toFloat64(batched_us)) / 1000,
                    nan
                ) AS was_ms,
                acceptance
            FROM requests
            WHERE final = 1 AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        )
        GROUP BY place
        HAVING sum(predictions) = 1 AND NOT isNaN(actual_ms)
    )
    GROUP BY lane, is_batch
) AS errors
JOIN (
    SELECT cityHash64(model, latency_class) AS lane, toString(model) AS model, toString(latency_class) AS latency_class
    FROM events
    WHERE kind = 'request.dispatched' AND toStartOfMinute(ts) >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY model, latency_class
) AS lanes ON lanes.lane = errors.lane
ORDER BY model, latency_class, predicted
