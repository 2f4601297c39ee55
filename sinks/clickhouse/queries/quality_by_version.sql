-- title: Quality by version
-- Scores that clients gave to answers of each version, and their drift: the mean of the newer half of the range less
-- that of the older one, also in standard errors: how far apart two samples of that size would be if nothing had
-- changed. Alarming: more than 3 of them down, with 10 scores or more in each half. A score that could be of several
-- requests, as tenants share its id and it names none, counts for none.
-- parameter: hours Float64 = 24  how far back
WITH judged AS (
    SELECT request_id FROM feedback WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64})
)
SELECT
    deployment,
    signal,
    scores,
    round(mean, 4) AS mean_score,
    older_scores,
    newer_scores,
    round(older, 4) AS older_mean,
    round(newer, 4) AS newer_mean,
    round(newer - older, 4) AS drift,
    round(
        if(variance > 0, 1 / sqrt(variance * (1 / older_scores + 1 / newer_scores)), 0) * (newer - older), 2
    ) AS drift_in_standard_errors,
    toUInt8(older_scores >= 10 AND newer_scores >= 10 AND drift_in_standard_errors < -3) AS is_alarming
FROM (
    SELECT
        deployment,
        signal,
        count() AS scores,
        avg(score) AS mean,
        varSampStable(score) AS variance,
        countIf(is_old) AS older_scores,
        countIf(NOT is_old) AS newer_scores,
        avgIf(score, is_old) AS older,
        avgIf(score, NOT is_old) AS newer
    FROM (
        SELECT
            r.deployment AS deployment,
            f.signal AS signal,
            f.score AS score,
            f.ts < now() - toIntervalSecond(1800 * {hours:Float64}) AS is_old
        FROM feedback AS f
        JOIN (
            SELECT
                request_id,
                toString(tenant) AS tenant,
                toString(model) AS model,
                argMaxIf(toString(deployment), produced_ts, deployment != '') AS deployment
            FROM requests_final
            WHERE request_id IN (SELECT * FROM judged)
                AND produced_ts IN (SELECT produced_ts FROM requests WHERE request_id IN (SELECT * FROM judged))
            GROUP BY request_id, tenant, model
        ) AS r ON r.request_id = f.request_id
        WHERE f.ts >= now() - toIntervalSecond(3600 * {hours:Float64}) AND NOT isNaN(f.score)
            AND (f.tenant = '' OR f.tenant = r.tenant) AND (f.model = '' OR f.model = r.model)
        QUALIFY count() OVER (PARTITION BY f.kp, f.ko, f.ki) = 1
    )
    GROUP BY deployment, signal
)
ORDER BY signal, deployment
