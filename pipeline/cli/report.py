"""One HTML page about a range of time: latency, throughput, batches, GPU time and cost, and whether it all adds up.

The page needs nothing but a browser: no scripts, no fonts, no network. It is good in light and dark, and on paper.
Requests belong to the range in which they were produced.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cli.account import account
from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK, tell
from pipeline.cli.output import emit_json
from pipeline.report.asking import gather
from pipeline.report.build import report
from pipeline.report.ranges import range_of
from topics.errors import SettingsError

EXAMPLE = """\
millrace report
millrace report --last 24h --out yesterday.html
millrace report --from 2026-01-31T08:00 --to 2026-01-31T09:30 --prices reserved --out incident.html"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The range, the prices and the file."""
    parser.add_argument("--last", metavar="LENGTH", help="length of the range: 90s, 30m, 1h, 7d; default: 1h")
    parser.add_argument("--from", dest="since", metavar="TIME", help="where it begins, ISO 8601; UTC without a zone")
    parser.add_argument("--to", dest="until", metavar="TIME", help="where it ends; default: now")
    parser.add_argument(
        "--prices", choices=("on_demand", "reserved"), default="on_demand", help="of GPUs; default: %(default)s"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, default=Path("millrace-report.html"), help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Ask and write the page; with `--json` print the facts instead."""
    now = datetime.now(UTC)
    asked = range_of(since=args.since, until=args.until, last=args.last, now=now)
    settings = settings_of(args).clickhouse
    with account(settings) as client:
        facts = gather(client, asked.span, plan=args.prices, now_s=now.timestamp())
    if args.json:
        emit_json(facts)
        return OK
    page = report(facts, asked, database=settings.database, plan=args.prices, now=now)
    write(args.out, page)
    tell(f"{args.out}: {facts.totals.requests:,} requests, {asked.words}")
    return OK


def write(path: Path, page: str) -> None:
    """Write a page.

    Raises:
        SettingsError: the file cannot be written.
    """
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--out {path}: {error.strerror}; name a file in a folder that you can write to") from error
