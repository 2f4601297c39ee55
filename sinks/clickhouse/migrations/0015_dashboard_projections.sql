-- What dashboards ask every few seconds, kept in the parts themselves: written with the rows, never out of step.
ALTER TABLE {database}.events ADD PROJECTION IF NOT EXISTS by_minute (
    SELECT toStartOfMinute(ts), kind, model, latency_class, count(), max(queue_depth), avg(queue_depth)
    GROUP BY toStartOfMinute(ts), kind, model, latency_class
);

ALTER TABLE {database}.batches ADD PROJECTION IF NOT EXISTS by_minute (
    SELECT toStartOfMinute(formed_ts), model, latency_class, reason,
           count(), sum(size), max(size), sum(size_limit), max(queue_depth), avg(queue_depth)
    GROUP BY toStartOfMinute(formed_ts), model, latency_class, reason
);

ALTER TABLE {database}.engine_steps ADD PROJECTION IF NOT EXISTS by_minute (
    SELECT toStartOfMinute(ts), model, deployment, worker,
           sum(steps), sum(busy_us), sum(interval_us), sum(prefill_tokens), sum(decode_tokens), max(running_max),
           max(waiting_max)
    GROUP BY toStartOfMinute(ts), model, deployment, worker
);
