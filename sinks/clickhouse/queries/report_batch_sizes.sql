-- title: Report: batch sizes
-- How many batching decisions of the range put so many requests together.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT size, count() AS batches, sum(size) AS requests
FROM batches
WHERE formed_ts >= {from:DateTime} AND formed_ts < {to:DateTime}
GROUP BY size
ORDER BY size
