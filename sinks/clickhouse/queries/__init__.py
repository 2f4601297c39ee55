"""Named questions to the account: SQL files that say what they mean and what they can be asked with."""

from sinks.clickhouse.queries.loader import Parameter, Query, load_queries

__all__ = ["Parameter", "Query", "load_queries"]
