-- title: Labels by version
-- Labels that clients gave to answers of each version, their share among all labels of the signal, and its drift: the
-- share in the newer half of the range less that in the older one, also in standard errors: how far apart two samples of
-- that size would be if nothing had changed. Alarming: more than 3 of them up or down, with 10 labels of the signal or
-- more in each half. A label that could be of several requests, as tenants share its id and it names none, counts for
-- none.
-- parameter: hours Float64 = 24  how far back
WITH
    judged AS (
        SELECT request_id FROM feedback WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64})
    ),
    sum(older) OVER (PARTITION BY deployment, signal) AS older_of_signal,
    sum(newer) OVER (PARTITION BY deployment, signal) AS newer_of_signal,
    (older + newer) / (older_of_signal + newer_of_signal) AS whole,
    newer / nullIf(newer_of_signal, 0) - older / nullIf(older_of_signal, 0) AS change,
    if(whole < 1, 1 / sqrt(whole * (1 - whole) * (1 / older_of_signal + 1 / newer_of_signal)), 0) AS errors_per_share
SELECT
    deployment,
    signal,
    label,
    older + newer AS labels,
    round(whole, 4) AS share,
    older_of_signal AS older_labels,
    newer_of_signal AS newer_labels,
    round(change, 4) AS drift,
    round(errors_per_share * change, 2) AS drift_in_standard_errors,
    toUInt8(older_labels >= 10 AND newer_labels >= 10 AND abs(drift_in_standard_errors) > 3) AS is_alarming
FROM (
    SELECT deployment, signal, label, countIf(is_old) AS older, countIf(NOT is_old) AS newer
    FROM (
        SELECT
            r.deployment AS deployment,
            f.signal AS signal,
            f.label AS label,
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
        WHERE f.ts >= now() - toIntervalSecond(3600 * {hours:Float64}) AND f.label != ''
            AND (f.tenant = '' OR f.tenant = r.tenant) AND (f.model = '' OR f.model = r.model)
        QUALIFY count() OVER (PARTITION BY f.kp, f.ko, f.ki) = 1
    )
    GROUP BY deployment, signal, label
)
ORDER BY signal, deployment, labels DESC
