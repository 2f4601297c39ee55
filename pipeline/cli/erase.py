"""Remove what the account keeps of one request, or of a tenant. It cannot be undone.

Tenants give ids as they like: where several requests have one, the command names them and removes nothing; say whose it
is by --tenant, and where a tenant uses it for several models, by --model.

What the account has are ids, names, times, counts, outcomes, lengths and hashes of texts; and prompts and answers of
tenants with `texts = "full"`. Records on Kafka go when their topic's retention ends. Erase again where rows of it were
still on their way to the account.
"""

import argparse
import asyncio

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK
from pipeline.cli.migrate import reaching
from pipeline.cli.output import emit_json, terminal
from sinks.clickhouse import erasure
from sinks.clickhouse.erasure import Whose
from topics.errors import SettingsError

EXAMPLE = """\
millrace erase --request 3f0c9a --dry-run
millrace erase --request order-42 --tenant acme
millrace erase --tenant acme"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose rows."""
    parser.add_argument("--request", metavar="ID", help="everything about a request")
    parser.add_argument(
        "--tenant", metavar="NAME", default="", help="everything about a tenant, or whose request it is"
    )
    parser.add_argument("--model", metavar="NAME", default="", help="of the request, where its tenant has several")
    parser.add_argument("--dry-run", action="store_true", help="only count the rows")


def run(args: argparse.Namespace) -> int:
    """Remove them, and tell how many there were."""
    whose = _whose(args)
    settings = settings_of(args).clickhouse
    if args.dry_run:
        found = asyncio.run(reaching(settings, lambda store: erasure.count(store, settings.database, whose)))
    else:
        found = asyncio.run(
            reaching(settings, lambda store: erasure.erase(store, settings.database, whose, cluster=settings.cluster))
        )
    if args.json:
        emit_json({"rows": found, "dry_run": args.dry_run})
        return OK
    verb = "would be removed" if args.dry_run else "removed"
    for table, rows in found.items():
        terminal().print(f"{table}: {rows} row{'' if rows == 1 else 's'} {verb}")
    return OK


def _whose(args: argparse.Namespace) -> Whose:
    """Raises SettingsError where nothing, or less than was meant, is said: an empty id must not become its tenant."""
    if args.request is None and not args.tenant:
        raise SettingsError("say what to remove: --request ID, --tenant NAME, or both for a request of a tenant")
    if args.request == "":
        raise SettingsError("--request is empty; give an id, or leave it away to remove everything of a tenant")
    if args.model and args.request is None:
        raise SettingsError("--model narrows down a --request; it cannot be removed by itself")
    return Whose(request=args.request or "", tenant=args.tenant, model=args.model)
