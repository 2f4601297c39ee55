-- title: Report: why batches were dispatched
-- Batching decisions of the range by reason, with the requests that they took.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT reason, count() AS batches, sum(size) AS requests
FROM batches
WHERE formed_ts >= {from:DateTime} AND formed_ts < {to:DateTime}
GROUP BY reason
ORDER BY requests DESC, reason
