"""The schema of the account: what is to do, doing it, what was done. The recorder applies it too, whenever it starts.

`apply` makes the database where it is missing, runs the migrations that it has not, sets how long rows are kept
(clickhouse.retention_days) and writes the SLOs of the settings to `slo_targets`. `plan` says all that it would do, with
--sql as the statements themselves, and changes nothing. A migration that was changed after it was applied is an error.
With clickhouse.cluster set, the same files make replicated tables on all its servers. Every action goes over HTTP: the
embedded engine is reached through its recorder.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.views.migrate import outlook_table, plan_table, status_table
from pipeline.recorder.schema import schema_of
from pipeline.settings import ClickHouseSettings, Settings
from sinks.clickhouse import migrations
from sinks.clickhouse.remote import RemoteStore
from sinks.clickhouse.schema import establish, foresee
from sinks.clickhouse.store import Store

T = TypeVar("T")
EXAMPLE = """\
millrace migrate plan --sql
millrace migrate apply --set clickhouse.url=https://clickhouse:8443 --set clickhouse.cluster=account
millrace migrate status --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do."""
    parser.add_argument("action", choices=("plan", "apply", "status"), help="what to do")
    parser.add_argument("--sql", action="store_true", help="plan: print every statement that apply would run")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    return asyncio.run({"plan": _plan, "apply": _apply, "status": _status}[args.action](args, settings_of(args)))


async def reaching(settings: ClickHouseSettings, work: Callable[[Store], Awaitable[T]]) -> T:
    """The outcome of work on the account's store.

    Raises:
        StoreAway: nobody answers.
    """
    store = RemoteStore(settings.http_url, user=settings.user, password=settings.password)
    try:
        return await work(store)
    finally:
        await store.close()


async def _plan(args: argparse.Namespace, settings: Settings) -> int:
    todo = await reaching(settings.clickhouse, lambda store: foresee(store, schema_of(settings)))
    if args.sql:
        for statement in todo.statements:
            print(f"{statement};\n")
    elif args.json:
        found = [{"version": m.version, "name": m.name, "checksum": m.checksum} for m in todo.migrations]
        emit_json({"made": todo.foundation, "migrations": found, "retention": todo.retention, "targets": todo.targets})
    else:
        terminal().print(outlook_table(todo))
    return OK


async def _apply(args: argparse.Namespace, settings: Settings) -> int:
    done = await reaching(settings.clickhouse, lambda store: establish(store, schema_of(settings)))
    if args.json:
        applied = [{"version": m.version, "name": m.name} for m in done.migrations]
        emit_json({"applied": applied, "retention": done.retention, "targets": done.targets})
        return OK
    terminal().print(plan_table("applied", done.migrations))
    for statement in done.retention:
        terminal().print(statement)
    if done.targets:
        terminal().print(f"SLO targets written: {len(done.targets)}")
    return OK


async def _status(args: argparse.Namespace, settings: Settings) -> int:
    clickhouse = settings.clickhouse
    found = await reaching(clickhouse, lambda store: migrations.status(store, clickhouse.database))
    if args.json:
        emit_json(
            [
                {"version": s.migration.version, "name": s.migration.name, "state": s.state, "applied_at": s.applied_at}
                for s in found
            ]
        )
    else:
        terminal().print(status_table(found))
    return OK
