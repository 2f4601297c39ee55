-- title: The events of a request
-- What was told about an id, in order, with the request it belongs to: two that share an id differ in their origin.
-- parameter: id String  the request's id
SELECT
    toUnixTimestamp64Micro(ts) AS at_us,
    kind,
    component,
    process,
    worker,
    origin,
    attempt,
    batch_size,
    tokens_out,
    queue_depth,
    outcome,
    error_code,
    reason,
    detail
FROM events
WHERE request_id = {id:String}
ORDER BY ts, log_ts, kp, ko, ki
