"""Where one request spent its time: every attempt, every station, with durations.

Bars share one axis that begins at the request's record. Beside each: how long the stretch before the station took, and
when the station was reached. Two requests that share an id are both shown.
"""

import argparse
import time
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from pipeline.cli.account import account
from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import FAILED, OK, tell
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.report import write
from pipeline.cli.views.waterfall import story_view
from pipeline.report.asking import asked
from pipeline.report.request_page import request_page
from pipeline.report.story import Attempt, Event, stories

EXAMPLE = """\
millrace trace order-42
millrace trace order-42 --within 10 --html order-42.html"""
ASK_AGAIN_S: Final = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which request, and whether as a page."""
    parser.add_argument("id", metavar="ID", help="id of the request")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the waterfall as an HTML page instead")
    parser.add_argument(
        "--within",
        metavar="SECONDS",
        type=float,
        default=0.0,
        help="wait so long for its end to be recorded; default: 0",
    )


def run(args: argparse.Namespace) -> int:
    """Ask and draw; fails if the account has no row of the request."""
    with account(settings_of(args).clickhouse) as client:
        if args.within > 0:
            _wait(client, args.id, within_s=args.within)
        attempts = asked(client, "trace_attempts", Attempt, {"id": args.id})
        events = asked(client, "trace_events", Event, {"id": args.id})
    found = stories(args.id, attempts, events)
    if not found:
        known = ", ".join(sorted({event.kind for event in events}))
        tell(_unknown(args.id, known))
        return FAILED
    if args.json:
        emit_json(found)
    elif args.html is not None:
        write(args.html, request_page(args.id, found))
        tell(f"{args.html}: {len(found)} request{'s' if len(found) > 1 else ''}")
    else:
        console = terminal()
        for story in found:
            console.print(story_view(story, width=console.width), soft_wrap=True)
    return OK


def _unknown(request_id: str, events: str) -> str:
    """Why there is nothing to draw, and where to look."""
    if events:
        return f"{request_id} has no end in ClickHouse yet, only {events}; follow it with `millrace tail {request_id}`"
    return (
        f"nothing is known of {request_id} in ClickHouse; if it was sent a moment ago, `millrace tail {request_id}` "
        "follows it and --within 10 waits for it"
    )


def _wait(client: Client, request_id: str, *, within_s: float) -> None:
    """Return when the account has an end of the request, or after `within_s`. Nothing announces a row: ask again."""
    give_up_s = time.monotonic() + within_s
    while time.monotonic() < give_up_s:
        if any(row.is_accepted for row in asked(client, "trace_attempts", Attempt, {"id": request_id})):
            return
        time.sleep(ASK_AGAIN_S)
