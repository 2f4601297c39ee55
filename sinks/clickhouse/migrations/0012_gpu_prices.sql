-- What an hour of a GPU costs, by type and plan (reserved, on_demand). Append a row to change a price from a time on;
-- money is looked up when a question is asked, so a corrected price needs no row of the account rewritten.
CREATE TABLE IF NOT EXISTS {database}.gpu_prices
(
    gpu              LowCardinality(String),
    plan             LowCardinality(String),
    valid_from       DateTime('UTC'),
    usd_per_gpu_hour Float64,
    note             String,
    set_at           DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(set_at)
ORDER BY (gpu, plan, valid_from)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- A price holds until the second before the next one of its type and plan.
CREATE VIEW IF NOT EXISTS {database}.gpu_price_ranges AS
SELECT
    toString(gpu) AS gpu,
    toString(plan) AS plan,
    valid_from,
    leadInFrame(valid_from, 1, toDateTime('2099-01-01 00:00:00', 'UTC')) OVER (
        PARTITION BY gpu, plan ORDER BY valid_from ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) - toIntervalSecond(1) AS valid_to,
    usd_per_gpu_hour
FROM {database}.gpu_prices FINAL;

CREATE DICTIONARY IF NOT EXISTS {database}.gpu_price
(
    gpu              String,
    plan             String,
    valid_from       DateTime('UTC'),
    valid_to         DateTime('UTC'),
    usd_per_gpu_hour Float64
)
PRIMARY KEY gpu, plan
SOURCE(CLICKHOUSE(DB '{database_name}' TABLE 'gpu_price_ranges'))
LAYOUT(COMPLEX_KEY_RANGE_HASHED())
RANGE(MIN valid_from MAX valid_to)
LIFETIME(MIN 1 MAX 30);
