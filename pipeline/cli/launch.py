"""Running a process of the pipeline from a command line: resolved settings into its log, then its main to the end."""

import argparse
import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from pipeline.runtime import process
from pipeline.settings import Settings, masked

logger = logging.getLogger(__name__)


def launch(args: argparse.Namespace, settings: Settings, main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `main(stop)` under the process's signals and log level; its exit code.

    Raises:
        PipelineError: as `main`.
    """

    async def logged(stop: asyncio.Event) -> int:
        logger.info("settings: %s", json.dumps(masked(settings)))
        return await main(stop)

    return process.run(logged, log_level=args.log_level or "INFO")
