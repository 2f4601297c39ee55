"""What is wrong, and how to mend it: this machine, the settings, Kafka, topics, workers, clocks, ClickHouse.

Nothing is changed. Takes about 2 s. Exits with 1 if something fails; what only warns matters for some uses.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator

from pipeline.cli.arguments import settings_of
from pipeline.cli.checks.check import Check, fail
from pipeline.cli.failures import FAILED, OK, tell
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.views.doctor import check_lines
from topics.errors import SettingsError

EXAMPLE = """\
millrace doctor
millrace doctor --json | jq '.[] | select(.state != "ok")'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing beyond the settings."""


def run(args: argparse.Namespace) -> int:
    """Look at everything."""
    checks = asyncio.run(_examine(args))
    failed = [check for check in checks if check.state == "fail"]
    if args.json:
        emit_json(checks)
    elif failed:
        tell(f"{len(failed)} of {len(checks)} checks failed")
    return FAILED if failed else OK


async def _examine(args: argparse.Namespace) -> list[Check]:
    """All checks, each shown as soon as it is known."""
    checks = []
    async for check in _checks(args):
        checks.append(check)
        if not args.json:
            terminal().print(check_lines(check), soft_wrap=True)
    return checks


async def _checks(args: argparse.Namespace) -> AsyncIterator[Check]:
    from pipeline.cli.checks.cluster import cluster_checks
    from pipeline.cli.checks.machine import machine_checks

    try:
        settings = settings_of(args)
    except SettingsError as error:
        yield fail("settings", error.message, mend="correct the file or the flag")
        return
    for check in machine_checks(settings):
        yield check
    async for check in cluster_checks(settings):
        yield check
