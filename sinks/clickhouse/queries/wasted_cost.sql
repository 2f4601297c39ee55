-- title: What wasted work costs
-- Engine time of attempts that gave no answer anybody took: handed back, dead with their engine, superseded by another
-- attempt, cancelled, expired, failed; and of crashed workers what nobody told of (unobserved).
-- parameter: hours Float64 = 24  how far back
-- parameter: plan String = on_demand  reserved or on_demand prices
SELECT
    cause,
    sum(attempts) AS wasted_attempts,
    round(sum(used_ns) / 1e9, 3) AS wasted_s,
    round(sum(used_ns / 3.6e12 * price), 6) AS wasted_usd
FROM (
    SELECT
        a.cause AS cause,
        a.attempts AS attempts,
        a.used_ns AS used_ns,
        dictGetOrDefault('gpu_price', 'usd_per_gpu_hour', (g.gpu, {plan:String}), a.hour, 0.) AS price
    FROM (
        SELECT
            if(outcome = '', 'ended early', toString(outcome)) AS cause,
            toString(worker) AS worker,
            toStartOfHour(produced_ts) AS hour,
            count() AS attempts,
            sum(gpu_ns) AS used_ns
        FROM (
            SELECT outcome, worker, produced_ts, gpu_ns
            FROM requests
            WHERE gpu_ns > 0 AND (final = 0 OR outcome != 'completed')
                AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
            QUALIFY row_number() OVER (
                PARTITION BY model, lane_topic, produced_ts, lane_offset, lane_partition, attempt
                ORDER BY log_ts, kp, ko, ki
            ) = 1
        )
        GROUP BY cause, worker, hour
        UNION ALL
        SELECT
            'superseded' AS cause,
            toString(worker) AS worker,
            toStartOfHour(produced_ts) AS hour,
            count() AS attempts,
            sum(gpu_ns) AS used_ns
        FROM (
            SELECT
                outcome, worker, produced_ts, gpu_ns, final,
                row_number() OVER (
                    PARTITION BY lane_topic, produced_ts, lane_offset, lane_partition, attempt
                    ORDER BY log_ts, kp, ko, ki
                ) AS telling,
                attempt = first_value(attempt) OVER (
                    PARTITION BY lane_topic, produced_ts, lane_offset, lane_partition
                    ORDER BY final DESC, acceptance, log_ts, kp, ko, ki
                ) AS is_accepted
            FROM requests
            WHERE produced_ts IN (
                SELECT produced_ts
                FROM requests
                WHERE final = 1 AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64})
                GROUP BY produced_ts
                HAVING count() > 1
            )
        )
        WHERE telling = 1 AND NOT is_accepted AND gpu_ns > 0 AND final = 1 AND outcome = 'completed'
        GROUP BY cause, worker, hour
    ) AS a
    LEFT JOIN worker_gpus AS g ON g.worker = a.worker
    UNION ALL
    SELECT
        'unobserved' AS cause,
        count() AS attempts,
        sum(toUInt64(greatest(toInt64(r.gap_ns + r.busy_ns) - toInt64(t.attributed_ns), 0))) AS used_ns,
        dictGetOrDefault(
            'gpu_price', 'usd_per_gpu_hour', (r.gpu, {plan:String}), toStartOfHour(r.reported_to), 0.
        ) AS price
    FROM worker_runs AS r
    LEFT JOIN (
        SELECT x.worker AS worker, x.begins AS begins, sum(a.gpu_ns) AS attributed_ns
        FROM (
            SELECT
                toString(worker) AS worker,
                gpu_ns,
                produced_ts + toIntervalMicrosecond(finished_us) AS finished_ts
            FROM requests
            WHERE worker IN (SELECT worker FROM worker_runs WHERE ended = 'crashed')
                AND produced_ts >= now() - toIntervalSecond(3600 * {hours:Float64} + 86400)
            QUALIFY row_number() OVER (
                PARTITION BY model, lane_topic, produced_ts, lane_offset, lane_partition, attempt
                ORDER BY log_ts, kp, ko, ki
            ) = 1
        ) AS a
        ASOF JOIN worker_runs AS x ON a.worker = x.worker AND a.finished_ts >= x.begins
        GROUP BY worker, begins
    ) AS t ON t.worker = r.worker AND t.begins = r.begins
    WHERE r.ended = 'crashed' AND r.reported_to >= now() - toIntervalSecond(3600 * {hours:Float64})
    GROUP BY r.gpu, toStartOfHour(r.reported_to)
)
GROUP BY cause
ORDER BY wasted_s DESC
