"""The schema of the account: numbered SQL files, applied once each, in order, by one runner for every kind of store."""

from sinks.clickhouse.migrations.runner import (
    Migration,
    Status,
    apply,
    load_migrations,
    missing_foundation,
    plan,
    status,
)

__all__ = ["Migration", "Status", "apply", "load_migrations", "missing_foundation", "plan", "status"]
