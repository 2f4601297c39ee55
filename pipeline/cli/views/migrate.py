"""Migrations as tables."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.cli.views.table import table
from sinks.clickhouse.migrations import Migration, Status
from sinks.clickhouse.schema import Outlook


def plan_table(title: str, migrations: Sequence[Migration]) -> Table:
    """Migrations and the first sentence of what they are for."""
    view = table(title, caption=f"{len(migrations)} migrations" if migrations else "nothing to do")
    for name in ("migration", "checksum", "about"):
        view.add_column(name, overflow="fold")
    for migration in migrations:
        view.add_row(f"{migration.version:04}_{migration.name}", migration.checksum[:12], migration.about)
    return view


def outlook_table(todo: Outlook) -> Table:
    """All that would be done, in order."""
    view = table("to be done", caption=f"{len(todo.statements)} statements" if todo.statements else "nothing to do")
    for name in ("what", "which"):
        view.add_column(name, overflow="fold")
    for statement in todo.foundation:
        view.add_row("make", statement.partition(" (")[0])
    for migration in todo.migrations:
        view.add_row("migration", f"{migration.version:04}_{migration.name}: {migration.about}")
    for statement in todo.retention:
        view.add_row("retention", statement)
    for target in todo.targets:
        promised = (("ttft_ms", target.ttft_ms), ("tpot_ms", target.tpot_ms), ("e2e_ms", target.e2e_ms))
        values = ", ".join(f"{name} {value:g}" for name, value in promised if value)
        named = f"{target.model} {target.latency_class}: {values or 'no times'}, objective {target.objective_ratio:g}"
        view.add_row("SLO target", named)
    return view


def status_table(found: Sequence[Status]) -> Table:
    """Every migration of this release, and when the database got it."""
    view = table("migrations")
    for name in ("migration", "checksum", "state", "applied"):
        view.add_column(name, overflow="fold")
    for status in found:
        migration, at = status.migration, status.applied_at
        when = at.strftime("%Y-%m-%d %H:%M:%S") if at is not None else ""
        view.add_row(f"{migration.version:04}_{migration.name}", migration.checksum[:12], status.state, when)
    return view
