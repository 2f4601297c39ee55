-- title: Labels by version
-- Labels that clients gave to answers of each version, their share among all labels of the signal, and how that share
-- differs between the newer half of the range and the older one. A label that could be of several requests, as tenants
-- share its id and it names none, counts for none.
-- parameter: hours Float64 = 24  how far back
WITH judged AS (
    SELECT request_id FROM feedback WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64})
)
SELECT
    deployment,
    signal,
    label,
    count() AS labels,
    round(labels / any(labels_of_signal), 4) AS share,
    round(
        countIf(NOT is_old) / nullIf(any(newer_labels), 0) - countIf(is_old) / nullIf(any(older_labels), 0), 4
    ) AS drift
FROM (
    SELECT
        deployment,
        signal,
        label,
        is_old,
        count() OVER (PARTITION BY deployment, signal) AS labels_of_signal,
        countIf(is_old) OVER (PARTITION BY deployment, signal) AS older_labels,
        countIf(NOT is_old) OVER (PARTITION BY deployment, signal) AS newer_labels
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
ORDER BY signal, deployment, labels DESC
