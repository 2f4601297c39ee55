-- Whose request a judgement is about: ids are given by tenants, and two of them may give the same. Empty where the
-- sender did not say; then it counts for the one request of that id, and for none where there are several.
ALTER TABLE {database}.feedback
    ADD COLUMN IF NOT EXISTS tenant LowCardinality(String),
    ADD COLUMN IF NOT EXISTS model LowCardinality(String);
