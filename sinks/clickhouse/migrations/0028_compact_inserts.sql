-- What one insert writes is one file of data instead of several for every column: a third of its time, and far fewer files
-- to sync. From 64 MiB on, which is beyond the largest insert, merges write a part as files by column, as before.
ALTER TABLE {database}.events MODIFY SETTING min_bytes_for_wide_part = 67108864;
ALTER TABLE {database}.requests MODIFY SETTING min_bytes_for_wide_part = 67108864;
