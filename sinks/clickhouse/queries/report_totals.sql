-- title: Report: totals
-- Requests that were produced in the range, how they ended and what went in and out; one row.
-- parameter: from DateTime  the range begins: seconds since the epoch, or a time of the server's zone
-- parameter: to DateTime  the range ends
SELECT
    count() AS requests,
    countIf(outcome = 'completed') AS completed,
    countIf(outcome = 'rejected') AS rejected,
    countIf(outcome = 'expired') AS expired,
    countIf(outcome = 'cancelled') AS cancelled,
    countIf(outcome = 'failed') AS failed,
    sum(tokens_in) AS tokens_prompt,
    sum(tokens_cached) AS tokens_reused,
    sum(tokens_out) AS tokens_made
FROM requests_final
WHERE produced_ts >= {from:DateTime} AND produced_ts < {to:DateTime}
