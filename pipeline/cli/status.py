"""Lanes, workers, recorder and ClickHouse at this moment.

Of each lane: requests per second over the last 10 s; lag, what is not dispatched or answered yet, in the processor's
queue or still in Kafka; what is queued, and the slack of the request that is due first; the median batch of late and
the largest that the target allows; saturation, the batch that keeps up with the load over that limit (above 100% only
more workers help); how far predictions were off. A lane is `paused` while its queue is full, or 10,000 of its records
are not acknowledged, and the rest waits in Kafka, and `filling` while requests wait for company because it costs them
nothing. Of each worker: what runs and waits in it, its credits, and for how long it has been silent: after 3 s it is
stale and gets no work. Of each deployment that serves: what its engines were learned to take for a batch or step and
for each thing in it, how much slower they are of late, how much longer deadlines allow for, how many batches or steps
were seen, and how far predictions were off of late.
"""

import argparse
import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.cli.arguments import settings_of
from pipeline.cli.failures import OK, reaching_kafka
from pipeline.cli.output import emit_json, emit_json_line, terminal
from pipeline.local import state
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
        asyncio.run(_watch(settings, args.every, as_json=args.json) if args.watch else _once(settings, args))
    return OK


def metrics_of(config: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Where the processes of the local cluster that a settings file belongs to serve their metrics, by name."""
    named = config or environ.get("MILLRACE_CONFIG")
    running = state.read(Path(named).parent) if named else None
    return running.metrics if running is not None and Path(running.config) == Path(named or "") else {}


async def _once(settings: Settings, args: argparse.Namespace) -> None:
    from pipeline.cli.probe import Probe
    from pipeline.cli.views.status import status_view

    async with Probe(settings) as probe:
        snapshot = replace(await probe.take(), metrics=metrics_of(args.config, os.environ))
    if args.json:
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
