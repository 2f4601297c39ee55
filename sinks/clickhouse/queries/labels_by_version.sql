-- title: Labels by version
-- Labels that clients gave to answers of each version, their share among all labels of the signal, and its drift: the
-- share in the newer half of the range less that in the older one, also in standard errors: how far apart two samples of
-- that size would be if nothing had changed. Alarming: more than 3 of them up or down, with 10 labels of the signal or
-- more in each half. A label that could be of several requests, as tenants share its id and it names none, counts for
-- none.
-- parameter: hours Float64 = 24  how far back
WITH judged AS (
    SELECT request_id FROM feedback WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64})
)
SELECT
    deployment,
    signal,
    label,
    labels,
    round(whole, 4) AS share,
    older_labels,
    newer_labels,
    round(newer - older, 4) AS drift,
    round(
        if(whole < 1, 1 / sqrt(whole * (1 - whole) * (1 / older_labels + 1 / newer_labels)), 0) * (newer - older), 2
    ) AS drift_in_standard_errors,
    toUInt8(older_labels >= 10 AND newer_labels >= 10 AND abs(drift_in_standard_errors) > 3) AS is_alarming
FROM (
    SELECT
        deployment,
        signal,
        label,
        count() AS labels,
        any(older_of_signal) AS older_labels,
        any(newer_of_signal) AS newer_labels,
        labels / (older_labels + newer_labels) AS whole,
        countIf(is_old) / nullIf(older_labels, 0) AS older,
        countIf(NOT is_old) / nullIf(newer_labels, 0) AS newer
    FROM (
        SELECT
            deployment,
            signal,
            label,
            is_old,
            countIf(is_old) OVER (PARTITION BY deployment, signal) AS older_of_signal,
            countIf(NOT is_old) OVER (PARTITION BY deployment, signal) AS newer_of_signal
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
    )
    GROUP BY deployment, signal, label
)
ORDER BY signal, deployment, labels DESC
