-- title: Quality by version
-- Scores that clients gave to answers of each version, and their drift: the mean of the newer half of the range less
-- that of the older one, with the number of standard errors that it is away from no change.
-- parameter: hours Float64 = 24  how far back
SELECT
    deployment,
    signal,
    count() AS scores,
    round(avg(score), 4) AS mean_score,
    round(avgIf(score, is_old), 4) AS older_mean,
    round(avgIf(score, NOT is_old), 4) AS newer_mean,
    round(newer_mean - older_mean, 4) AS drift,
    round(
        drift / sqrt(
            varSampIf(score, is_old) / greatest(countIf(is_old), 1)
            + varSampIf(score, NOT is_old) / greatest(countIf(NOT is_old), 1)
        ),
        2
    ) AS drift_in_standard_errors,
    toUInt8(isFinite(drift_in_standard_errors) AND drift_in_standard_errors < -3) AS is_alarming
FROM (
    SELECT
        r.deployment AS deployment,
        f.signal AS signal,
        f.score AS score,
        f.ts < now() - toIntervalSecond(1800 * {hours:Float64}) AS is_old
    FROM feedback AS f
    JOIN (
        SELECT request_id, toString(deployment) AS deployment
        FROM requests_final
        WHERE request_id IN (
            SELECT request_id FROM feedback WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        )
    ) AS r ON r.request_id = f.request_id
    WHERE f.ts >= now() - toIntervalSecond(3600 * {hours:Float64}) AND NOT isNaN(f.score)
)
GROUP BY deployment, signal
ORDER BY signal, deployment
