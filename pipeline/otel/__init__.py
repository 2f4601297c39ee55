"""The process that exports the trace as spans."""
