"""Lanes, workers, recorder and ClickHouse at this moment.

Lag is what a processor has not dispatched or answered yet: it may wait in its queue or still in Kafka. Arrivals are
counted over the last 10 s. A worker whose heartbeat is older than 3 s is stale and gets no work.
"""

import argparse
import asyncio

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK, reaching_kafka
from pipeline.cli.output import emit_json, emit_json_line, terminal
from pipeline.settings import Settings

EXAMPLE = """\
millrace status --watch
millrace status --json | jq '.lanes[] | select(.lag > 1000)'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Once, or again and again."""
    parser.add_argument("--watch", action="store_true", help="keep looking until Ctrl-C; with --json one line a look")
    parser.add_argument(
        "--every", metavar="SECONDS", type=float, default=1.0, help="seconds between looks; default: %(default)g"
    )


def run(args: argparse.Namespace) -> int:
    """Look."""
    settings = settings_of(args)
    with reaching_kafka(settings.kafka.brokers):
        asyncio.run(_watch(settings, args.every, as_json=args.json) if args.watch else _once(settings, args.json))
    return OK


async def _once(settings: Settings, as_json: bool) -> None:
    from pipeline.cli.probe import Probe
    from pipeline.cli.views.status import status_view

    async with Probe(settings) as probe:
        snapshot = await probe.take()
    if as_json:
        emit_json(snapshot)
    else:
        terminal().print(status_view(snapshot))


async def _watch(settings: Settings, every_s: float, *, as_json: bool) -> None:
    from rich.live import Live

    from pipeline.cli.probe import Probe
    from pipeline.cli.views.status import status_view

    async with Probe(settings) as probe:
        if as_json:
            while True:
                emit_json_line(await probe.take())
                await asyncio.sleep(every_s)
        with Live(console=terminal(), auto_refresh=False) as live:
            while True:
                live.update(status_view(await probe.take()), refresh=True)
                await asyncio.sleep(every_s)
