"""Trying again while the store is away: with growing pauses, told once, ended by a stop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from sinks.clickhouse.store import StoreAway

logger = logging.getLogger(__name__)

FIRST_S: Final = 0.1
LONGEST_S: Final = 5.0


class Stopped(Exception):
    """The process was told to stop while the store was away."""


class Patience:
    """Repeats work until the store is there. `stop` ends the waiting."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    async def until_there(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        after_failure: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Do `work`; if the store is away, wait, do `after_failure` with success, and begin again.

        Raises:
            Stopped: told to stop while the store was away.
        """
        pause_s = FIRST_S
        away_since_s: float | None = None
        todo = [work]
        while True:
            try:
                for step in todo:
                    await step()
                break
            except StoreAway as error:
                if away_since_s is None:
                    away_since_s = time.monotonic()
                    logger.warning("ClickHouse is away, waiting for it: %s", error.message)
            todo = [after_failure, work] if after_failure else [work]
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_S)
        if away_since_s is not None:
            logger.info("ClickHouse is back after %.1f s", time.monotonic() - away_since_s)

    async def _pause(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause_s)
        if self._stop.is_set():
            raise Stopped
