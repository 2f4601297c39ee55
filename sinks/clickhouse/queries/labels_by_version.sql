-- title: Labels by version
-- Labels that clients gave to answers of each version, their share among all labels of the signal, and how that share
-- differs between the newer half of the range and the older one.
-- parameter: hours Float64 = 24  how far back
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
        r.deployment AS deployment,
        f.signal AS signal,
        f.label AS label,
        f.ts < now() - toIntervalSecond(1800 * {hours:Float64}) AS is_old,
        count() OVER (PARTITION BY deployment, signal) AS labels_of_signal,
        countIf(is_old) OVER (PARTITION BY deployment, signal) AS older_labels,
        countIf(NOT is_old) OVER (PARTITION BY deployment, signal) AS newer_labels
    FROM feedback AS f
    JOIN (
        SELECT request_id, toString(deployment) AS deployment
        FROM requests_final
        WHERE request_id IN (
            SELECT request_id FROM feedback WHERE ts >= now() - toIntervalSecond(3600 * {hours:Float64})
        )
    ) AS r ON r.request_id = f.request_id
    WHERE f.ts >= now() - toIntervalSecond(3600 * {hours:Float64}) AND f.label != ''
)
GROUP BY deployment, signal, label
ORDER BY signal, deployment, labels DESC
