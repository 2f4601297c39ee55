"""Tell one request's story in plain sentences: why it waited, why this worker and then, and how it ended.

Times count from the request's record, each by the clock of the process that saw it. It is told from the account: rows
appear within about 3 s, and events are kept for 7 days (clickhouse.retention_days). Where a request was turned away,
the way out is said.
"""

import argparse

from pipeline.cli.account import account
from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import FAILED, OK, tell
from pipeline.cli.output import emit_json, terminal

EXAMPLE = """\
millrace explain order-42
millrace explain order-42 --tenant acme --json | jq '.[0].sentences[].text'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which request."""
    parser.add_argument("id", metavar="ID", help="id of the request")
    parser.add_argument("--tenant", metavar="T", help="only requests of this tenant; default: of any")


def run(args: argparse.Namespace) -> int:
    """Ask and tell; fails if the account knows nothing of the id."""
    from pipeline.cli.views.story import story_view
    from pipeline.explain.asking import rows_of
    from pipeline.explain.sentences import stories

    with account(settings_of(args).clickhouse) as client:
        rows = rows_of(client, args.id, tenant=args.tenant)
    found = stories(args.id, rows)
    if not found:
        tell(_unknown(args.id, args.tenant))
        return FAILED
    if args.json:
        emit_json(found)
        return OK
    console = terminal()
    for index, story in enumerate(found):
        if index:
            console.print()
        console.print(story_view(story))
    return OK


def _unknown(request_id: str, tenant: str | None) -> str:
    whose = f" of tenant {tenant}" if tenant else ""
    return (
        f"the account knows no request {request_id!r}{whose}: rows appear within about three seconds "
        f"and events are kept for 7 days; `millrace tail {request_id}` looks on the response topics"
    )
