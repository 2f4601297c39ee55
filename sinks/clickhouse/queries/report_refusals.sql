-- title: Report: requests without a result
-- Requests of the range that did not complete, by outcome, error code and reason.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT model, latency_class, outcome, error_code, reason, count() AS requests, uniqExact(tenant) AS tenants
FROM requests_final
WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime} AND outcome != 'completed'
GROUP BY model, latency_class, outcome, error_code, reason
ORDER BY requests DESC, outcome, error_code, reason, model, latency_class
