"""Remove what the account keeps of one request, or of a tenant. It cannot be undone.

Prompts and answers are not in the account; what it has are ids, names, times, counts and outcomes. Records on Kafka go
when their topic's retention ends. Erase again where rows of it were still on their way to the account.
"""

import argparse
import asyncio

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK
from pipeline.cli.migrate import reaching
from pipeline.cli.output import emit_json, terminal
from sinks.clickhouse import erasure

EXAMPLE = """\
millrace erase --request 3f0c9a --dry-run
millrace erase --tenant acme"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose rows."""
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--request", metavar="ID", default="", help="everything about a request id")
    whose.add_argument("--tenant", metavar="NAME", default="", help="everything about a tenant")
    parser.add_argument("--dry-run", action="store_true", help="only count the rows")


def run(args: argparse.Namespace) -> int:
    """Remove them, and tell how many there were."""
    settings = settings_of(args).clickhouse
    whose = {"request": args.request, "tenant": args.tenant}
    if args.dry_run:
        found = asyncio.run(reaching(settings, lambda store: erasure.count(store, settings.database, **whose)))
    else:
        found = asyncio.run(
            reaching(settings, lambda store: erasure.erase(store, settings.database, cluster=settings.cluster, **whose))
        )
    if args.json:
        emit_json({"rows": found, "dry_run": args.dry_run})
        return OK
    verb = "would be removed" if args.dry_run else "removed"
    for table, rows in found.items():
        terminal().print(f"{table}: {rows} row{'' if rows == 1 else 's'} {verb}")
    return OK
