-- What is promised to each class of a model; 0 where nothing is. The newest row of a pair counts; written from the
-- settings whenever migrations are applied.
CREATE TABLE IF NOT EXISTS {database}.slo_targets
(
    model           LowCardinality(String),
    latency_class   LowCardinality(String),
    objective_ratio Float64,
    ttft_ms         Float64,
    tpot_ms         Float64,
    e2e_ms          Float64,
    set_at          DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(set_at)
ORDER BY (model, latency_class)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
