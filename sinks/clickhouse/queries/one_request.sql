-- title: The story of a request
-- Everything that was told about an id, in the order in which it happened.
-- parameter: id String  the request's id
SELECT ts, kind, component, process, worker, attempt, batch_id, tokens_out, outcome, error_code, reason, detail
FROM events
WHERE request_id = {id:String}
ORDER BY ts, log_ts, kp, ko, ki
