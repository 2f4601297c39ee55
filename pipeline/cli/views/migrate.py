"""Migrations as tables."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.cli.views.table import table
from sinks.clickhouse.migrations import Migration, Status


def plan_table(title: str, migrations: Sequence[Migration]) -> Table:
    """Migrations and the first sentence of what they are for."""
    view = table(title, caption=f"{len(migrations)} migrations" if migrations else "nothing to do")
    for name in ("migration", "checksum", "about"):
        view.add_column(name, overflow="fold")
    for migration in migrations:
        view.add_row(f"{migration.version:04}_{migration.name}", migration.checksum[:12], migration.about)
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
